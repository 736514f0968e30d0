"""Reset a ``tokens_valid_after`` that a clock running ahead has put into the future.

No token is issued before ``tokens_valid_after``, and verifiers refuse one from the future. A user
whose tokens were revoked while the clock was a day ahead could use none for a day.

Guarantees: everything issued before the new time stays revoked. Tokens that were issued while the
clock was ahead can be ended only by revoking the signing key (decision 0036).
"""

from contextlib import suppress
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.users.model import NoSuchUser, User, VersionsExhausted, is_far_ahead
from auth_service.users.table import TOKENS_VALID_FROM_NOW
from auth_service.users.transaction import change_user, lock_user

log = structlog.get_logger()


async def reset_future_validity(connection: AsyncConnection, user: User, *, at: datetime) -> User:
    """Make tokens valid from the next second on, if they would be valid only much later.

    The caller has locked the row, and commits.

    Parameters:
        at: the time by PostgreSQL's clock.
    """
    if not is_far_ahead(user.tokens_valid_after, at):
        return user
    try:
        reset = await change_user(connection, user.id, tokens_valid_after=TOKENS_VALID_FROM_NOW)
    except VersionsExhausted:
        return user
    log.warning("user.tokens_brought_back", user_id=str(user.id))
    return reset


async def reset_future_validity_alone(engine: AsyncEngine, user: User, *, at: datetime) -> User:
    """Do the same in a transaction of its own, for a user whose row was read without a lock.

    A user who has changed since is left alone: the change may be a revocation.
    """
    if is_far_ahead(user.tokens_valid_after, at):
        with suppress(NoSuchUser):
            async with engine.begin() as connection:
                present = await lock_user(connection, user.id)
                if present.version == user.version:
                    return await reset_future_validity(connection, present, at=at)
    return user
