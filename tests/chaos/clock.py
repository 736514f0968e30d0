"""Set the clock of a database's server back, as far as its tables can tell.

Times in the tables are moved a day ahead. Replicated columns of users stay, and so do events, from
which a deletion takes its time: otherwise both sides would differ, which a clock does not cause.
Decision 36.
"""

from contextlib import suppress
from typing import Final

import asyncpg

from tests.chaos.history import connected

TRIES_MAX: Final = 5
"""Services lock the same rows in another order; then the fault may deadlock."""

_COLUMNS: Final = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'
        AND table_name NOT IN ('users', 'outbox_events', 'audit_log', 'orphan_tombstones')
"""


async def set_back(url: str) -> None:
    """Move the times of all tables a day ahead, in one transaction."""
    async with connected(url) as connection:
        for _ in range(TRIES_MAX):
            with suppress(asyncpg.DeadlockDetectedError):
                await _move(connection)
                return


async def _move(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        for table, column in await connection.fetch(_COLUMNS):
            await connection.execute(f"UPDATE {table} SET {column} = {column} + interval '1 day'")
