"""Sign-up and a user's own account over HTTP: parse, call the use case, respond."""

from fastapi import APIRouter, Request, Response, status
from fastapi.responses import StreamingResponse

from auth_service.accounts.bodies import PasswordChange
from auth_service.accounts.change_email import change_email, request_email_change
from auth_service.accounts.change_password import change_password
from auth_service.accounts.delete import delete, delete_verified
from auth_service.accounts.export import FOLDER, export_own
from auth_service.accounts.sign_up import sign_up
from auth_service.context import Auth
from auth_service.problems import (
    EMAIL_TAKEN,
    INVALID_CREDENTIALS,
    INVALID_EMAIL,
    LAST_ADMINISTRATOR,
    VERSIONS_EXHAUSTED,
    WEAK_PASSWORD,
    WRONG_PASSWORD,
)
from auth_service.sessions.bearer import CallerEvenDisabled, CurrentCaller, CurrentUser
from auth_service.sessions.bodies import NewCredentials, PasswordOnly, SignedIn
from auth_service.sessions.password_attempts import spend_password_attempt
from auth_service.sessions.refresh_token import make_refresh_token
from auth_service.sessions.responses import RequestedSession, signed_in_response, storage_of
from auth_service.sessions.sign_in import check_credentials
from auth_service.throttle.network import network_charges
from auth_service.throttle.sign_in_attempts import KnownNetwork, remember_network
from auth_service.users.bodies import Credentials, OwnUserBody
from auth_service.users.marker import CHANGED, marker
from service_kit.http import problems
from service_kit.http.downloads import AN_ARCHIVE
from service_kit.http.networks import Network
from service_kit.http.openapi import TOKEN, documented
from service_kit.process.archive import Archive

router = APIRouter(prefix="/v1", tags=["users"])

BY_PASSWORD = (*TOKEN, WRONG_PASSWORD, problems.NOT_FOUND, problems.TOO_MANY_REQUESTS)
"""Problems of a route that the password confirms."""

CHANGED_BY_PASSWORD = (*BY_PASSWORD, VERSIONS_EXHAUSTED)
"""Problems of a route that changes the account."""


@router.post(
    "/signup",
    status_code=status.HTTP_201_CREATED,
    summary="Create an account",
    response_model_exclude_none=True,
    responses=documented(
        EMAIL_TAKEN,
        INVALID_EMAIL,
        WEAK_PASSWORD,
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
    """Create a user, with an access token that every service accepts at once."""
    charges = network_charges("signup", network, auth.settings.limit_signup)
    response.headers.update(await auth.throttle.spend(*charges))
    user = await sign_up(
        auth.engine,
        auth.passwords,
        email=body.email,
        password=body.password.get_secret_value(),
        length_min=auth.settings.password_length_min,
        session=session,
        network=KnownNetwork(auth.throttle, network),
        mail=auth.mail is not None,
    )
    if auth.mail is not None:
        auth.mail.wake()
    token = make_refresh_token(auth.secrets, session.id, 0)
    return await signed_in_response(
        auth,
        response,
        user,
        session.id,
        at=user.created_at,
        authenticated_at=user.created_at,
        refresh_token=token,
        storage=body.session,
    )


@router.get("/me", summary="Show your account", responses=documented(*TOKEN))
async def get_me(user: CurrentUser) -> OwnUserBody:
    """The account in its present state."""
    return OwnUserBody.model_validate(user)


@router.patch(
    "/me",
    summary="Change your e-mail address",
    responses=documented(*CHANGED_BY_PASSWORD, EMAIL_TAKEN, INVALID_EMAIL),
)
async def patch_me(
    body: Credentials, caller: CurrentCaller, auth: Auth, response: Response, network: Network
) -> OwnUserBody:
    """Change the e-mail address; the password confirms the change.

    If the service sends mail, the new address is `pending_email` until the link mailed to it is
    opened, and the response does not show whether it is taken. Otherwise it takes effect at once.
    """
    user_id = caller.user.id
    response.headers.update(await spend_password_attempt(auth, caller))
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
    summary="Change your password",
    response_model_exclude_none=True,
    responses=documented(*CHANGED_BY_PASSWORD, WEAK_PASSWORD),
)
async def post_password(
    body: PasswordChange,
    caller: CurrentCaller,
    auth: Auth,
    request: Request,
    response: Response,
    session: RequestedSession,
) -> SignedIn:
    """Start a new session in place of all others, whose tokens are refused everywhere from now on.

    The refresh token comes in a cookie if the request had one.
    """
    headers = await spend_password_attempt(auth, caller)
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
        auth,
        response,
        changed,
        session.id,
        at=at,
        authenticated_at=at,
        refresh_token=token,
        storage=storage_of(request),
    )


@router.delete(
    "/me",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete your account",
    responses=documented(*BY_PASSWORD, LAST_ADMINISTRATOR) | CHANGED,
)
async def delete_me(
    body: PasswordOnly, caller: CallerEvenDisabled, auth: Auth, response: Response
) -> None:
    """Erase the account permanently; the password confirms it. Disabled users may do this, too."""
    response.headers.update(await spend_password_attempt(auth, caller))
    user_id = caller.user.id
    password = body.password.get_secret_value()
    response.headers.update(
        marker(await delete(auth.engine, auth.passwords, user_id, password=password))
    )


@router.post(
    "/me/export",
    summary="Export your data",
    response_class=StreamingResponse,
    responses=AN_ARCHIVE | documented(*BY_PASSWORD, problems.EXPORT_TOO_LARGE),
)
async def post_export(
    body: PasswordOnly, caller: CallerEvenDisabled, auth: Auth
) -> StreamingResponse:
    """What this service knows of you, as a zip archive of JSON; the password confirms it."""
    headers = await spend_password_attempt(auth, caller)
    user_id, password = caller.user.id, body.password.get_secret_value()

    async def write(archive: Archive) -> None:
        await export_own(auth.engine, auth.passwords, user_id, archive, password=password)

    response = await auth.downloads.archive_response(FOLDER, f"{FOLDER}-{user_id}.zip", write)
    response.headers.update(headers)
    return response


@router.post(
    "/deletion",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete your account without signing in",
    responses=documented(
        INVALID_CREDENTIALS,
        WRONG_PASSWORD,
        problems.NOT_FOUND,
        LAST_ADMINISTRATOR,
        problems.TOO_MANY_REQUESTS,
    )
    | CHANGED,
)
async def post_deletion(
    body: Credentials, auth: Auth, response: Response, network: Network
) -> None:
    """Erase the account permanently, by e-mail and password; disabled users cannot sign in."""
    found = await check_credentials(
        auth, email=body.email, password=body.password.get_secret_value(), network=network
    )
    version = await delete_verified(auth.engine, found.user.id, found.password_hash)
    response.headers.update(found.headers | marker(version))
