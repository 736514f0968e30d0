"""A connection of the test's own, past SQLAlchemy and any pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def connected(url: str, *, seconds_max: float = 60) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection for the block.

    Parameters:
        url: of the database, as settings have it.
        seconds_max: for opening it.
    """
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=seconds_max)
    try:
        yield connection
    finally:
        await connection.close()
