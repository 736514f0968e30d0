"""Give living users new versions above a floor, in batches, after a restore of the database.

Guarantees: a user's new version is above the floor and above their present version, and never below
the clock. Nothing else of a user changes, except that all earlier access tokens are refused.
Tombstones stay as they are.

Not here: when to do this (``restore``); ending sessions (``sessions``).
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Uuid,
    and_,
    bindparam,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.record import record_many
from auth_service.outbox.table import outbox_events
from auth_service.users.model import User
from auth_service.users.table import FIRST_VERSION, TOKENS_VALID_FROM_NOW, to_user, users
from contracts.events import VERSION_MAX, UserUpdated

_FLOOR: ColumnElement[int] = bindparam("floor", type_=BigInteger)
_SINCE: ColumnElement[int] = bindparam("since", type_=BigInteger)

_RECORDED_SINCE = exists().where(
    outbox_events.c.user_id == users.c.id, outbox_events.c.position > _SINCE
)

_TO_BUMP = and_(
    users.c.status != "deleted",
    users.c.version < VERSION_MAX,  # no version is left; replicas have the same state
    or_(_SINCE.is_(None), users.c.version <= _FLOOR, not_(_RECORDED_SINCE)),
)

_COUNT = select(func.count()).where(_TO_BUMP)

_BATCH = (
    select(users.c.id)
    .where(users.c.id > bindparam("after", type_=Uuid), _TO_BUMP)
    .order_by(users.c.id)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update()
    .cte("batch")
)

_BUMP = (
    update(users)
    .where(users.c.id == _BATCH.c.id)
    .values(
        version=func.greatest(users.c.version + 1, _FLOOR + 1, FIRST_VERSION),
        tokens_valid_after=TOKENS_VALID_FROM_NOW,
        updated_at=func.now(),
    )
    .returning(users)
)


async def count_to_bump(connection: AsyncConnection, *, floor: int, since: int | None) -> int:
    """Count the users that ``bump_versions`` would change in total."""
    return int(await connection.scalar(_COUNT, {"floor": floor, "since": since}) or 0)


async def bump_versions(
    connection: AsyncConnection, *, floor: int, after: UUID, since: int | None, limit: int
) -> Sequence[User]:
    """Change the next users in the order of their ids and record each; the caller commits.

    Parameters:
        floor: the new versions are above it.
        after: the last id of the previous batch.
        since: a position in the log. A user with an event beyond it and a version above the floor
            was changed already and is skipped. None changes every user.
        limit: the most users to change.

    Returns:
        The users after the change, ascending by id; empty if there are no more.
    """
    values = {"floor": floor, "after": after, "since": since, "limit": limit}
    rows = await connection.execute(_BUMP, values)
    bumped = sorted((to_user(row) for row in rows), key=lambda user: user.id)
    if bumped:
        await record_many(connection, UserUpdated.type, [user.state() for user in bumped])
    return bumped
