"""Limit the attempts to confirm something by password, in one session."""

from auth_service.context import Context
from auth_service.sessions.bearer import Caller
from auth_service.throttle.model import Charge


async def spend_password_attempt(auth: Context, caller: Caller) -> dict[str, str]:
    """Spend one of the attempts that all confirmations of a session share; return the headers.

    Counted by session, so that a stolen session does not use up the owner's attempts.

    Raises:
        TooManyRequests: the session has none left for now.
    """
    session = f"{caller.user.id} {caller.session_id}"
    return await auth.throttle.spend(Charge("password", session, auth.settings.limit_password))
