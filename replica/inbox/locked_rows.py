"""Find out who is held up when a lock does not become free in time: one user, or everybody.

Guarantees: nothing here waits for a lock. What is locked on the way is free again when the caller's
transaction ends.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from replica.inbox.faults import is_lock_timeout
from replica.locks import try_lock
from replica.table import Replica

SHORT_LOCK_TIMEOUT_MS: Final = 100
"""How long to wait for a lock once it is known that a session holds one: each message that needs it
costs so much. Our own transactions are shorter, and what they delay is tried again."""

_BRIEFLY = text(f"SELECT set_config('lock_timeout', '{SHORT_LOCK_TIMEOUT_MS}', true)")

# Whatever writes rows takes this lock. It is refused while somebody has, or waits for, a stronger
# one: a migration, an index that is being built, LOCK TABLE.
_ALL_TABLES: Final = (
    "LOCK TABLE {users}, heartbeats, revoked_keys, services, parked_messages, waiting_messages,"
    " attempts IN ROW EXCLUSIVE MODE NOWAIT"
)

# The writer of users takes this lock: a session that only keeps a key from changing is no obstacle.
_PRESENT: Final = "SELECT id FROM {users} WHERE id = ANY(CAST(:ids AS uuid[]))"
_FREE: Final = f"{_PRESENT} FOR NO KEY UPDATE SKIP LOCKED"


async def shorten_lock_timeout(connection: AsyncConnection) -> None:
    """Have this transaction give up on a lock after ``SHORT_LOCK_TIMEOUT_MS``."""
    await connection.execute(_BRIEFLY)


async def require_unlocked_tables(replica: Replica, connection: AsyncConnection) -> None:
    """Raise PostgreSQL's lock time-out when a whole table that messages need is locked."""
    await connection.execute(text(_ALL_TABLES.format(users=replica.name)))


async def is_any_table_locked(replica: Replica, engine: AsyncEngine) -> bool:
    """Whether every message has to wait, not only those that need one row."""
    try:
        async with engine.begin() as connection:
            await require_unlocked_tables(replica, connection)
    except DBAPIError as error:
        if is_lock_timeout(error):
            return True
        raise
    return False


async def locked_users(
    replica: Replica,
    connection: AsyncConnection,
    ids: Collection[UUID],
    *,
    deleted: Collection[UUID] = (),
) -> set[UUID]:
    """Those of these users whose rows other sessions hold; of ``deleted``, or whose locks.

    The caller holds all the others until the transaction ends.
    """
    values = {"ids": list(ids)}
    locked = await try_lock(connection, deleted) if deleted else set()
    rows = await connection.execute(text(_FREE.format(users=replica.name)), values)
    free = set(rows.scalars())
    rows = await connection.execute(text(_PRESENT.format(users=replica.name)), values)
    present = set(rows.scalars())
    return (present - free) | (set(deleted) - locked)
