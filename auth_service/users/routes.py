"""Sign-up and a user's own account over HTTP: parse, call the use case, answer."""

from fastapi import APIRouter, Response, status

from auth_service.bodies import Credentials, PasswordOnly, SignedIn, UserBody
from auth_service.context import Auth
from auth_service.sessions.bearer import CurrentUser
from auth_service.users.change_email import change_email
from auth_service.users.delete import delete
from auth_service.users.sign_up import sign_up
from contracts import problems
from contracts.problems import Problem

router = APIRouter(prefix="/v1", tags=["users"])


@router.post("/signup", status_code=status.HTTP_201_CREATED, summary="Create an account")
async def post_signup(body: Credentials, auth: Auth, response: Response) -> SignedIn:
    """A new user with an access token that every service accepts at once."""
    password = body.password.get_secret_value()
    if len(password) < auth.password_length_min:
        too_short = f"a password has at least {auth.password_length_min} characters"
        raise Problem(
            problems.INVALID_REQUEST,
            errors=[{"pointer": "/body/password", "detail": too_short}],
        )
    user = await sign_up(auth.engine, auth.passwords, email=body.email, password=password)
    response.headers["Cache-Control"] = "no-store"
    return SignedIn.of(user, auth.signer)


@router.get("/me", summary="The own account")
async def get_me(user: CurrentUser) -> UserBody:
    """The account as it is now."""
    return UserBody.model_validate(user)


@router.patch("/me", summary="Change the own e-mail address")
async def patch_me(body: Credentials, user: CurrentUser, auth: Auth) -> UserBody:
    """The account with its new address; the password confirms the change."""
    changed = await change_email(
        auth.engine,
        auth.passwords,
        user.id,
        email=body.email,
        password=body.password.get_secret_value(),
    )
    return UserBody.model_validate(changed)


@router.delete("/me", status_code=status.HTTP_204_NO_CONTENT, summary="Delete the own account")
async def delete_me(body: PasswordOnly, user: CurrentUser, auth: Auth) -> None:
    """Erase the account, finally; the password confirms it."""
    await delete(auth.engine, auth.passwords, user.id, password=body.password.get_secret_value())
