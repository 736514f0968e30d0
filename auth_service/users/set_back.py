"""Bring a user's ``tokens_valid_after`` back from the future of a clock that was set back.

A token is issued no earlier than ``tokens_valid_after``, and verifiers refuse one of the future: a
user whose revocation was made while the clock was a day ahead could use nothing for a day.

Guarantees: what was revoked stays revoked for as long as it lies in the future, where no token
counts, and everything from before is refused by the new time, too. Tokens that were issued while
the clock was ahead are the signing key's to end (decision 0036).
"""

from contextlib import suppress
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.users.change import change
from auth_service.users.lock import locked_user
from auth_service.users.model import NoSuchUser, User, VersionsExhausted
from auth_service.users.table import TOKENS_VALID_FROM_NOW

log = structlog.get_logger()


async def brought_back(connection: AsyncConnection, user: User, *, at: datetime) -> User:
    """The user, whose tokens are valid from the next second on if they were not for a long time.

    The caller has locked the row, and commits.

    Parameters:
        at: the time by PostgreSQL's clock.
    """
    if not user.waits_for_tokens(at):
        return user
    try:
        back = await change(connection, user.id, tokens_valid_after=TOKENS_VALID_FROM_NOW)
    except VersionsExhausted:
        return user
    log.warning("user.tokens_brought_back", user_id=str(user.id))
    return back


async def brought_back_alone(engine: AsyncEngine, user: User, *, at: datetime) -> User:
    """The same in a transaction of its own, for a caller who has read the row and not locked it.

    One that has changed since is left: what changed it may be a revocation.
    """
    if user.waits_for_tokens(at):
        with suppress(NoSuchUser):
            async with engine.begin() as connection:
                present = await locked_user(connection, user.id)
                if present.version == user.version:
                    return await brought_back(connection, present, at=at)
    return user
