"""What routes that start or refresh a session share: the session asked for, and the response.

A browser's refresh token goes into a cookie that no script can read and that is sent to this host
alone. The access token is in the body in either case, to be kept in memory.
"""

import asyncio
import time
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, Request, Response

from auth_service.context import Context
from auth_service.problems import ORIGIN_NOT_ALLOWED
from auth_service.sessions.bodies import Confirmed, SignedIn, TokenStorage
from auth_service.sessions.cookie import is_sent, set_cookie
from auth_service.sessions.model import NewSession
from auth_service.settings import ApiSettings
from auth_service.users.bodies import OwnUserBody
from auth_service.users.model import User
from service_kit.http.problems import Problem

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""RFC 6749 5.1, for responses with tokens."""

REVOKED_AHEAD_SECONDS: Final = 1
"""How far ``tokens_valid_after``, the next whole second, is usually ahead of the clock."""

WAIT_SECONDS_MAX: Final = 5
"""More can only be a wrong clock, which waiting does not fix."""


async def _requested_session(request: Request) -> NewSession:
    return NewSession.on(request.headers.get("user-agent"))


RequestedSession = Annotated[NewSession, Depends(_requested_session)]
"""A route parameter: a new session, named for the device that sent the request. Not stored yet."""


async def signed_in_response(
    auth: Context,
    response: Response,
    user: User,
    session_id: UUID,
    *,
    at: datetime,
    authenticated_at: datetime,
    refresh_token: str,
    storage: TokenStorage,
) -> SignedIn:
    """Build the body with an access token for the session; set the headers of ``response``.

    Parameters:
        at: when the user was last known to be entitled to a token, by PostgreSQL's clock.
        authenticated_at: when the password was last given in the session.
        refresh_token: goes into the body or a cookie, as ``storage`` says.
    """
    signed = await access_token(
        auth, response, user, session_id, at=at, authenticated_at=authenticated_at
    )
    if storage is TokenStorage.COOKIE:
        seconds = auth.settings.session_idle_seconds
        response.headers.append("Set-Cookie", set_cookie(refresh_token, seconds=seconds))
    return SignedIn(
        user=OwnUserBody.model_validate(user),
        access_token=signed.access_token,
        expires_in=signed.expires_in,
        refresh_token=refresh_token if storage is TokenStorage.TOKEN else None,
    )


async def access_token(
    auth: Context,
    response: Response,
    user: User,
    session_id: UUID,
    *,
    at: datetime,
    authenticated_at: datetime,
) -> Confirmed:
    """Sign an access token alone; the parameters are those of ``signed_in_response``."""
    await wait_until_valid(user.tokens_valid_after)
    signer = await auth.keys.signer()
    response.headers.update(NO_STORE)
    return Confirmed(
        access_token=signer.for_user(user, session_id, at=at, authenticated_at=authenticated_at),
        expires_in=signer.user_seconds,
    )


async def wait_until_valid(valid_after: datetime | None) -> None:
    """Wait while a token would be issued further in the future than verifiers should accept.

    Each of several revocations within a second moves ``tokens_valid_after`` ahead by a second. The
    leeway of verifiers is meant for their clocks, so this must not use it up.
    """
    if valid_after is not None:
        ahead = valid_after.timestamp() - time.time() - REVOKED_AHEAD_SECONDS
        await asyncio.sleep(min(max(ahead, 0), WAIT_SECONDS_MAX))


def storage_of(request: Request) -> TokenStorage:
    """Where the client that sent this request stores its refresh token."""
    return TokenStorage.COOKIE if is_sent(request.headers) else TokenStorage.TOKEN


def require_allowed_origin(request: Request, settings: ApiSettings) -> None:
    """Refuse a request that a page of an unknown origin could have sent with the user's cookie.

    Browsers send the page's origin with every such request (RFC 6454 7). A request without it
    comes from no page, and needs no cookie.

    Raises:
        Problem: 403, the origin is neither this service's own nor one of ``AUTH_CORS_ORIGINS``.
    """
    address = urlsplit(settings.address)
    own = f"{address.scheme}://{address.netloc}".lower()
    sent = request.headers.getlist("origin")
    if len(sent) != 1 or sent[0] not in (own, *settings.cors_origins):
        raise Problem(ORIGIN_NOT_ALLOWED)
