"""Sign-up and a user's own account over HTTP: parse, call the use case, answer."""

from fastapi import APIRouter, Request, Response, status

from auth_service.accounts.change_email import change_email, request_email_change
from auth_service.accounts.change_password import change_password
from auth_service.accounts.delete import delete, delete_verified
from auth_service.accounts.schemas import PasswordChange, PasswordOnly
from auth_service.accounts.sign_up import sign_up
from auth_service.context import Auth, Context
from auth_service.sessions.bearer import Caller, CallerEvenDisabled, CurrentCaller, CurrentUser
from auth_service.sessions.refresh_token import make_refresh_token
from auth_service.sessions.responses import RequestedSession, signed_in_response, storage_of
from auth_service.sessions.schemas import NewCredentials, SignedIn
from auth_service.sessions.sign_in import check_credentials
from auth_service.throttle.model import Charge
from auth_service.throttle.network import Network, network_charges
from auth_service.throttle.sign_in_attempts import remember_network
from auth_service.users.schemas import Credentials, OwnUserBody
from service_kit.http import problems
from service_kit.http.openapi import TOKEN, documented

router = APIRouter(prefix="/v1", tags=["users"])

BY_PASSWORD = (*TOKEN, problems.WRONG_PASSWORD, problems.NOT_FOUND, problems.TOO_MANY_REQUESTS)
"""What a route may answer where the password confirms it."""

CHANGED_BY_PASSWORD = (*BY_PASSWORD, problems.VERSIONS_EXHAUSTED)
"""What a route may answer that changes the account."""


@router.post(
    "/signup",
    status_code=status.HTTP_201_CREATED,
    summary="Create an account",
    response_model_exclude_none=True,
    responses=documented(
        problems.EMAIL_TAKEN,
        problems.INVALID_EMAIL,
        problems.WEAK_PASSWORD,
        problems.TOO_MANY_REQUESTS,
    ),
)
async def post_signup(
    body: NewCredentials,
    auth: Auth,
    response: Response,
    network: Network,
    session: RequestedSession,
) -> SignedIn:
    """A new user with an access token that every service accepts at once."""
    charges = network_charges("signup", network, auth.settings.limit_signup)
    response.headers.update(await auth.throttle.spend(*charges))
    password = body.password.get_secret_value()
    length_min = auth.settings.password_length_min
    await auth.passwords.require_strong(password, email=body.email, length_min=length_min)
    user = await sign_up(
        auth.engine,
        auth.passwords,
        email=body.email,
        password=password,
        session=session,
        mail=auth.mail is not None,
    )
    # From here he can sign in again, whatever others try with his address.
    await remember_network(auth.throttle, account=user.email, network=network)
    if auth.mail is not None:
        auth.mail.wake()
    token = make_refresh_token(auth.secrets, session.id, 0)
    return await signed_in_response(
        auth,
        response,
        user,
        session.id,
        at=user.created_at,
        refresh_token=token,
        storage=body.session,
    )


@router.get("/me", summary="The own account", responses=documented(*TOKEN))
async def get_me(user: CurrentUser) -> OwnUserBody:
    """The account as it is now."""
    return OwnUserBody.model_validate(user)


@router.patch(
    "/me",
    summary="Change the own e-mail address",
    responses=documented(*CHANGED_BY_PASSWORD, problems.EMAIL_TAKEN, problems.INVALID_EMAIL),
)
async def patch_me(
    body: Credentials, caller: CurrentCaller, auth: Auth, response: Response, network: Network
) -> OwnUserBody:
    """The account; the password confirms the change.

    Where the service sends mail, the new address is `pending_email` until the link that is mailed
    to it is opened, and whether it is taken is not told. Otherwise it counts at once.
    """
    user_id = caller.user.id
    response.headers.update(await _one_try(auth, caller))
    password = body.password.get_secret_value()
    if auth.settings.confirms_email_change:
        changed = await request_email_change(auth, user_id, email=body.email, password=password)
    else:
        changed = await change_email(
            auth.engine,
            auth.passwords,
            user_id,
            email=body.email,
            password=password,
            mail=auth.mail is not None,
            undo_seconds=auth.settings.email_undo_seconds,
        )
    if auth.mail is not None:
        auth.mail.wake()
    await remember_network(auth.throttle, account=changed.email, network=network)
    return OwnUserBody.model_validate(changed)


@router.post(
    "/me/password",
    summary="Change the own password",
    response_model_exclude_none=True,
    responses=documented(*CHANGED_BY_PASSWORD, problems.WEAK_PASSWORD),
)
async def post_password(
    body: PasswordChange,
    caller: CurrentCaller,
    auth: Auth,
    request: Request,
    response: Response,
    session: RequestedSession,
) -> SignedIn:
    """A new session in place of all others, whose tokens are refused from now on everywhere.

    The refresh token comes in a cookie if the request had one.
    """
    headers = await _one_try(auth, caller)
    changed, at = await change_password(
        auth,
        caller.user,
        current=body.current_password.get_secret_value(),
        new=body.new_password.get_secret_value(),
        session=session,
    )
    response.headers.update(headers)
    token = make_refresh_token(auth.secrets, session.id, 0)
    return await signed_in_response(
        auth, response, changed, session.id, at=at, refresh_token=token, storage=storage_of(request)
    )


@router.delete(
    "/me",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete the own account",
    responses=documented(*BY_PASSWORD, problems.LAST_ADMINISTRATOR),
)
async def delete_me(
    body: PasswordOnly, caller: CallerEvenDisabled, auth: Auth, response: Response
) -> None:
    """Erase the account permanently; the password confirms it. A disabled user may do so too."""
    response.headers.update(await _one_try(auth, caller))
    user_id = caller.user.id
    await delete(auth.engine, auth.passwords, user_id, password=body.password.get_secret_value())


@router.post(
    "/deletion",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete the own account without signing in",
    responses=documented(
        problems.INVALID_CREDENTIALS,
        problems.WRONG_PASSWORD,
        problems.NOT_FOUND,
        problems.LAST_ADMINISTRATOR,
        problems.TOO_MANY_REQUESTS,
    ),
)
async def post_deletion(
    body: Credentials, auth: Auth, response: Response, network: Network
) -> None:
    """Erase the account permanently, by e-mail and password: a disabled user cannot sign in."""
    found = await check_credentials(
        auth, email=body.email, password=body.password.get_secret_value(), network=network
    )
    await delete_verified(auth.engine, found.user.id, found.password_hash)
    response.headers.update(found.headers)


async def _one_try(auth: Context, caller: Caller) -> dict[str, str]:
    """Let a session guess at its user's password once more, or not; the headers that say so.

    Counted by session, so that whoever stole one does not use up the owner's tries.
    """
    who = f"{caller.user.id} {caller.session_id}"
    return await auth.throttle.spend(Charge("password", who, auth.settings.limit_password))
