"""Find out what a lock timeout blocks: single users, or all messages.

Guarantees: nothing here waits for a lock. Locks taken here end with the caller's transaction.
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
"""The lock timeout while another session is known to hold a lock: the cost of each message that
needs it. Our own transactions are shorter, and messages they delay are retried."""

_BRIEFLY = text(f"SELECT set_config('lock_timeout', '{SHORT_LOCK_TIMEOUT_MS}', true)")

# Every writer of rows takes this lock. It is refused while another session holds or waits for a
# stronger one: a migration, an index build, LOCK TABLE.
_ALL_TABLES: Final = (
    "LOCK TABLE {users}, digest_changes, heartbeats, revoked_keys, services, parked_messages,"
    " waiting_messages, attempts IN ROW EXCLUSIVE MODE NOWAIT"
)

# The lock of the writer of users. A session that only holds FOR KEY SHARE does not conflict.
_PRESENT: Final = "SELECT id FROM {users} WHERE id = ANY(CAST(:ids AS uuid[]))"
_FREE: Final = f"{_PRESENT} FOR NO KEY UPDATE SKIP LOCKED"


async def shorten_lock_timeout(connection: AsyncConnection) -> None:
    """Set the transaction's lock timeout to ``SHORT_LOCK_TIMEOUT_MS``."""
    await connection.execute(_BRIEFLY)


async def require_unlocked_tables(replica: Replica, connection: AsyncConnection) -> None:
    """Raise PostgreSQL's lock timeout if a whole table that messages need is locked."""
    await connection.execute(text(_ALL_TABLES.format(users=replica.name)))


async def is_any_table_locked(replica: Replica, engine: AsyncEngine) -> bool:
    """Tell whether all messages must wait, not only those that need one row."""
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
    """Return those of these users whose rows, or for ``deleted`` also locks, other sessions hold.

    The others stay locked for the caller until the transaction ends.
    """
    values = {"ids": list(ids)}
    locked = await try_lock(connection, deleted) if deleted else set()
    rows = await connection.execute(text(_FREE.format(users=replica.name)), values)
    free = set(rows.scalars())
    rows = await connection.execute(text(_PRESENT.format(users=replica.name)), values)
    present = set(rows.scalars())
    return (present - free) | (set(deleted) - locked)
