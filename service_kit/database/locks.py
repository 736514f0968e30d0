"""Do work that only one session may do at a time, by an advisory lock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@asynccontextmanager
async def advisory_lock(engine: AsyncEngine, key: int) -> AsyncIterator[AsyncConnection | None]:
    """Try to take an advisory lock for the block; yield its connection, or None if it is taken.

    The lock ends with the session, so work on this connection stops when the lock is lost.

    Parameters:
        key: the lock's number, unique within the database.
    """
    async with engine.connect() as connection:
        try:
            is_held = await connection.scalar(select(func.pg_try_advisory_lock(key)))
            await connection.commit()
            yield connection if is_held else None
            if is_held:
                await connection.execute(select(func.pg_advisory_unlock(key)))
                await connection.commit()
        except BaseException:
            await connection.invalidate()  # the pool must not get a session that has the lock
            raise
