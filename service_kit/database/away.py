"""What it looks like when a database is away, and whether it can be written."""

from typing import Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # an idle session that was ended, when nobody has read that yet
)
"""What the driver raises where it is used directly."""

DATABASE_ERRORS: Final = (SQLAlchemyError, *DRIVER_ERRORS)
"""What only a database raises."""

DATABASE_AWAY: Final = (*DATABASE_ERRORS, OSError)
"""What a worker meets when its database stops, restarts or refuses: wait and try again."""


HELD: Final = frozenset({"55P03", "40P01"})
"""SQLSTATEs of a wait for a lock that took too long, or that was broken off for a deadlock."""


def is_held(error: BaseException) -> bool:
    """Whether ``error`` says that another session holds what a statement needs."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) in HELD


class NotWritable(ConnectionError):
    """The database responds but takes no changes: it is a standby, or set to read-only."""


_IS_READ_ONLY = text("SELECT current_setting('transaction_read_only')::boolean")


async def ping(engine: AsyncEngine) -> None:
    """Require that the database responds and can be written.

    Raises:
        NotWritable: it takes no changes.
    """
    async with engine.connect() as connection:
        await require_writable(connection)


async def require_writable(connection: AsyncConnection) -> None:
    """Raise ``NotWritable`` unless transactions of this session may write."""
    if await connection.scalar(_IS_READ_ONLY):
        raise NotWritable
