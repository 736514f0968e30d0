"""The answer to whoever signed in or refreshed: tokens, in the body or in a cookie.

A browser keeps the refresh token in a cookie that no script can read and that goes nowhere but to
this host; the access token is in the body either way, to be kept in memory.
"""

import asyncio
import time
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request, Response

from auth_service.bodies import Keep, OwnUserBody, SignedIn
from auth_service.context import Context
from auth_service.sessions.cookie import is_sent, set_cookie
from auth_service.settings import ApiSettings
from auth_service.users.model import User
from service_kit.http import problems
from service_kit.http.problems import Problem

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""RFC 6749 5.1, for answers with tokens."""


REVOKED_AHEAD_SECONDS: Final = 1
"""How far ``tokens_valid_after``, the next whole second, is usually ahead of the clock."""

WAIT_SECONDS_MAX: Final = 5
"""More can only be a clock that is wrong, which no waiting mends."""


async def signed_in(
    auth: Context,
    response: Response,
    user: User,
    session_id: UUID,
    *,
    at: datetime,
    refresh_token: str,
    keep: Keep,
) -> SignedIn:
    """The body, with an access token for the session as of ``at``; headers go to ``response``."""
    await until_tokens_are_valid(user.tokens_valid_after)
    signer = await auth.keys.signer()
    response.headers.update(NO_STORE)
    if keep is Keep.COOKIE:
        seconds = auth.settings.session_idle_seconds
        response.headers.append("Set-Cookie", set_cookie(refresh_token, seconds=seconds))
    return SignedIn(
        user=OwnUserBody.model_validate(user),
        access_token=signer.for_user(user, session_id, at=at),
        expires_in=signer.user_seconds,
        refresh_token=refresh_token if keep is Keep.TOKEN else None,
    )


async def until_tokens_are_valid(valid_after: datetime | None) -> None:
    """Wait while a token would be issued further in the future than verifiers ought to allow.

    Revocations that follow each other within a second move ``tokens_valid_after`` ahead, a second
    each; the leeway of verifiers is for their clocks and not to be used up by that.
    """
    if valid_after is not None:
        ahead = valid_after.timestamp() - time.time() - REVOKED_AHEAD_SECONDS
        await asyncio.sleep(min(max(ahead, 0), WAIT_SECONDS_MAX))


def kept_by(request: Request) -> Keep:
    """Where the client of this request keeps its refresh token."""
    return Keep.COOKIE if is_sent(request.headers) else Keep.TOKEN


def demand_own_page(request: Request, settings: ApiSettings) -> None:
    """Refuse a request that a page of an unknown origin could have sent with the user's cookie.

    Browsers name the origin of the page with every such request (RFC 6454 7); a request without
    it comes from no page, and needs no cookie.

    Raises:
        Problem: 403, the origin is neither this service's own nor one of ``AUTH_CORS_ORIGINS``.
    """
    address = urlsplit(settings.address)
    own = f"{address.scheme}://{address.netloc}".lower()
    sent = request.headers.getlist("origin")
    if len(sent) != 1 or sent[0] not in (own, *settings.cors_origins):
        raise Problem(problems.ORIGIN_NOT_ALLOWED)
