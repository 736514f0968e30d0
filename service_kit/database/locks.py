"""Hold an advisory lock during a piece of work that one session may do at a time.

Not here: a task that one process has for as long as it lives (``lease``).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_kit.database.pooler import is_pooled
from service_kit.database.sessions import NEEDS_OWN_SESSION, UnsuitableDatabase


@asynccontextmanager
async def advisory_lock(
    engine: AsyncEngine, *key: int, waits: bool = False
) -> AsyncIterator[AsyncConnection | None]:
    """Take an advisory lock for the block; yield its connection, or None if it is taken.

    The lock ends with the session, so work on this connection stops when the lock is lost.

    Parameters:
        engine: the database.
        key: the lock's number, unique within the database: one of 64 bits or two of 32.
        waits: wait for a lock that another session has; then the connection is never None.

    Raises:
        UnsuitableDatabase: there is a pooler, which would lend the session and its lock to others.
    """
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        if is_pooled(raw.driver_connection):
            raise UnsuitableDatabase(NEEDS_OWN_SESSION)
        try:
            if waits:
                await connection.execute(select(func.pg_advisory_lock(*key)))
                is_held = True
            else:
                is_held = bool(await connection.scalar(select(func.pg_try_advisory_lock(*key))))
            await connection.commit()
            yield connection if is_held else None
            if is_held:
                await connection.execute(select(func.pg_advisory_unlock(*key)))
                await connection.commit()
        except BaseException:
            await connection.invalidate()  # the pool must not get a session that has the lock
            raise
