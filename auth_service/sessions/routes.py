"""Sign-in, refresh by cookie, sign-out and a user's own sessions, over HTTP."""

from uuid import UUID

import structlog
from fastapi import APIRouter, Request, Response, status

from auth_service.context import Auth
from auth_service.problems import (
    INVALID_CREDENTIALS,
    ORIGIN_NOT_ALLOWED,
    SESSION_ENDED,
    VERSIONS_EXHAUSTED,
    WRONG_PASSWORD,
)
from auth_service.sessions.bearer import CurrentCaller
from auth_service.sessions.bodies import (
    Confirmed,
    NewCredentials,
    PasswordOnly,
    SessionBody,
    SignedIn,
    TokenStorage,
)
from auth_service.sessions.confirm import confirm_password
from auth_service.sessions.cookie import deletion_header, sent_token
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.sessions.new_device import notify_of_new_device
from auth_service.sessions.password_attempts import spend_password_attempt
from auth_service.sessions.queries import live_sessions, session_limits
from auth_service.sessions.refresh import refresh_within_limit
from auth_service.sessions.refresh_token import InvalidGrant, make_refresh_token
from auth_service.sessions.responses import (
    RequestedSession,
    access_token,
    require_allowed_origin,
    signed_in_response,
)
from auth_service.sessions.sign_in import WrongCredentials, sign_in
from auth_service.sessions.sign_out import Scope, sign_out
from auth_service.sessions.start import start_session
from auth_service.users.token_validity import reset_future_validity_alone
from service_kit.database.transactions import transaction
from service_kit.http import problems
from service_kit.http.bearer import invalid_token
from service_kit.http.networks import Network
from service_kit.http.openapi import TOKEN, documented
from service_kit.http.pagination import Page
from service_kit.http.problems import Problem

router = APIRouter(prefix="/v1", tags=["sessions"])

log = structlog.get_logger()

ATTEMPTS = 2
"""The second attempt shows why the account has changed since the first."""


@router.post(
    "/signin",
    summary="Sign in with e-mail and password",
    response_model_exclude_none=True,
    responses=documented(
        INVALID_CREDENTIALS, problems.ACCOUNT_DISABLED, problems.TOO_MANY_REQUESTS
    ),
)
async def post_signin(
    body: NewCredentials,
    auth: Auth,
    response: Response,
    network: Network,
    session: RequestedSession,
) -> SignedIn:
    """Return tokens for the user; every wrong pair gets the same error."""
    for _ in range(ATTEMPTS):
        verified = await sign_in(
            auth, email=body.email, password=body.password.get_secret_value(), network=network
        )
        async with transaction(auth.engine) as begun:
            started = await start_session(
                begun,
                verified.user.id,
                verified.password_hash,
                session,
                session_limits(auth.settings),
            )
            if started is not None:
                await notify_of_new_device(auth, begun, verified, session)
        if started is not None:
            user, at = started
            user = await reset_future_validity_alone(auth.engine, user, at=at)
            response.headers.update(verified.headers)
            token = make_refresh_token(auth.secrets, session.id, 0)
            return await signed_in_response(
                auth,
                response,
                user,
                session.id,
                at=at,
                authenticated_at=at,
                refresh_token=token,
                storage=body.session,
            )
    raise WrongCredentials


@router.post(
    "/session/refresh",
    summary="Refresh a session by cookie",
    response_model_exclude_none=True,
    responses=documented(SESSION_ENDED, ORIGIN_NOT_ALLOWED, problems.TOO_MANY_REQUESTS),
)
async def post_session_refresh(
    request: Request, auth: Auth, response: Response, network: Network
) -> SignedIn:
    """Return an access token for the cookie's session, and set the next refresh token.

    For pages of allowed origins; other clients use `POST /oauth/token`.
    """
    require_allowed_origin(request, auth.settings)
    token = sent_token(request.headers) or ""
    try:
        refreshed, headers = await refresh_within_limit(auth, token, network=network)
    except InvalidGrant:
        raise Problem(SESSION_ENDED, headers=deletion_header()) from None
    response.headers.update(headers)
    return await signed_in_response(
        auth,
        response,
        refreshed.user,
        refreshed.session_id,
        at=refreshed.at,
        authenticated_at=refreshed.authenticated_at,
        refresh_token=refreshed.refresh_token,
        storage=TokenStorage.COOKIE,
    )


@router.post(
    "/session/confirm",
    summary="Confirm your password in this session",
    responses=documented(*TOKEN, WRONG_PASSWORD, problems.NOT_FOUND, problems.TOO_MANY_REQUESTS),
)
async def post_session_confirm(
    body: PasswordOnly, caller: CurrentCaller, auth: Auth, response: Response
) -> Confirmed:
    """Return an access token for what requires that the password was given a short time ago.

    Its claim `auth_time` is now, as in all later tokens of the session. The former token stays
    valid.
    """
    headers = await spend_password_attempt(auth, caller)
    session_id = caller.session_id
    if session_id is None:
        raise invalid_token()
    user, at = await confirm_password(
        auth, caller.user.id, session_id, password=body.password.get_secret_value()
    )
    response.headers.update(headers)
    return await access_token(auth, response, user, session_id, at=at, authenticated_at=at)


@router.post(
    "/signout",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Sign out here, elsewhere or everywhere",
    responses=documented(*TOKEN, VERSIONS_EXHAUSTED),
)
async def post_signout(
    caller: CurrentCaller, auth: Auth, response: Response, scope: Scope = Scope.LOCAL
) -> None:
    """End this session (`local`), all `others`, or all of them (`global`).

    This service refuses access tokens of an ended session at once. After `global`, other services
    do so, too; otherwise they accept them until they expire.
    """
    await sign_out(auth.engine, caller, scope)
    log.info("authn_logout", user_id=str(caller.user.id), scope=scope.value)
    if scope is not Scope.OTHERS:
        response.headers.update(deletion_header())


@router.get("/me/sessions", summary="List your sessions", responses=documented(*TOKEN))
async def get_sessions(caller: CurrentCaller, auth: Auth) -> Page[SessionBody]:
    """All live sessions, last refreshed first; there are never many."""
    limits = session_limits(auth.settings)
    async with auth.engine.connect() as connection:
        found = await live_sessions(connection, caller.user.id, limits)
    items = [
        SessionBody(
            id=session.id,
            created_at=session.created_at,
            refreshed_at=session.refreshed_at,
            expires_at=session.expires_at(limits),
            user_agent=session.user_agent,
            current=session.id == caller.session_id,
        )
        for session in found
    ]
    return Page(items=items, next_cursor=None)


@router.delete(
    "/me/sessions/{session_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="End one of your sessions",
    responses=documented(*TOKEN, problems.NOT_FOUND),
)
async def delete_session(session_id: UUID, caller: CurrentCaller, auth: Auth) -> None:
    """End it; another user's session, or one that has ended, is not found."""
    async with auth.engine.begin() as connection:
        ended = await end_sessions(connection, caller.user.id, EndReason.REVOKED, only=session_id)
    if not ended:
        raise Problem(problems.NOT_FOUND)
