"""Use a service's database from outside the service, with sessions like the service's own.

Settings of a role have no effect here either.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from service_kit.database.engines import unpooled
from service_kit.database.sessions import Session

_SESSION: Final = Session(
    "local",
    "public",  # the schema of the migrations on one machine
    statement_ms=60_000,  # all users of a large demonstration
    lock_ms=5_000,
    idle_in_transaction_ms=0,
)


@asynccontextmanager
async def outside(database_url: str) -> AsyncIterator[AsyncConnection]:
    """Open a connection inside the block; each statement is a transaction.

    Parameters:
        database_url: for SQLAlchemy.

    Raises:
        DBAPIError, OSError: the database does not respond.
        UnsuitableDatabase: the database has another encoding.
    """
    engine = unpooled(database_url, _SESSION, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        yield connection
