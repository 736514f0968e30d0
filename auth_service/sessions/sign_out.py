"""Sign out of this session, of all others, or of all of them everywhere."""

from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.sessions.bearer import Caller
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.users.table import TOKENS_VALID_FROM_NOW
from auth_service.users.transaction import change_user, lock_user


class Scope(StrEnum):
    """Which of a user's sessions end."""

    LOCAL = "local"
    OTHERS = "others"
    GLOBAL = "global"


async def sign_out(engine: AsyncEngine, caller: Caller, scope: Scope) -> None:
    """End the caller's session, all but it, or all.

    Ending all also moves ``tokens_valid_after``, so that every service refuses the earlier access
    tokens once it has the event. Otherwise other services accept them until they expire.

    Raises:
        NoSuchUser: the user was deleted in the meantime.
    """
    user_id, session_id = caller.user.id, caller.session_id
    async with engine.begin() as connection:
        if scope is Scope.LOCAL:
            if session_id is not None:
                await end_sessions(connection, user_id, EndReason.SIGNED_OUT, only=session_id)
            return
        user = await lock_user(connection, user_id)
        if scope is Scope.OTHERS:
            await end_sessions(connection, user_id, EndReason.SIGNED_OUT, but=session_id)
            return
        ended = await end_sessions(connection, user_id, EndReason.SIGNED_OUT)
        if not ended and user.tokens_valid_after != caller.user.tokens_valid_after:
            return  # a concurrent request has done all of it
        await change_user(connection, user_id, tokens_valid_after=TOKENS_VALID_FROM_NOW)
        await audit(
            connection, Action.SESSIONS_ENDED, actor=caller.actor, subject=user_id, sessions=ended
        )
