"""Require for sensitive acts that the password was given a short time ago (RFC 9470).

Guarantees: the time is that of the access token (``auth_time``), which the session's row sets, and
no refresh renews it. So neither a stolen refresh token nor a stolen access token is enough for such
an act once the time has passed, and a token stolen before a confirmation does not profit from it.

Not here: the confirmation (``confirm``).
"""

import time
from typing import Annotated, Final

from fastapi import Depends

from auth_service.problems import RECENT_PASSWORD_REQUIRED
from auth_service.sessions.bearer import ADMINISTRATORS_ONLY, Administrator, Caller
from service_kit.http.bearer import challenge
from service_kit.http.problems import Problem

RECENT_SECONDS: Final = 600
"""Enough for a row of acts, too short for a browser that was left open over lunch."""


def is_recent(authenticated_at: int | None, *, now: float) -> bool:
    """Whether the password was given within the time; both times in seconds since 1970."""
    return authenticated_at is not None and now - authenticated_at < RECENT_SECONDS


async def _recent_administrator(caller: Administrator) -> Caller:
    if not is_recent(caller.authenticated_at, now=time.time()):
        headers = challenge(RECENT_PASSWORD_REQUIRED.name)
        headers["WWW-Authenticate"] += (
            f', error_description="{RECENT_PASSWORD_REQUIRED.title}", max_age="{RECENT_SECONDS}"'
        )
        raise Problem(RECENT_PASSWORD_REQUIRED, headers=headers)
    return caller


RecentAdministrator = Annotated[Caller, Depends(_recent_administrator)]
"""An ``Administrator`` whose password was given within ``RECENT_SECONDS``."""

RECENT_ADMINISTRATORS_ONLY = (*ADMINISTRATORS_ONLY, RECENT_PASSWORD_REQUIRED)
"""Problems of a route for them."""
