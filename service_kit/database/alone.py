"""Run one statement past SQLAlchemy: as a transaction of its own, or on a session at hand.

For the most frequent statements: what SQLAlchemy does for one, with BEGIN and COMMIT, takes four
fifths of the time, and for one with many rows a third. The driver prepares each statement once per
connection.

Guarantees: a session that has ended does not return to the pool.

Not here: several statements in one transaction (``transactions``).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_kit.database.away import DRIVER_ERRORS, IS_READ_ONLY, NotWritable, sqlstate
from service_kit.database.engines import ends_session
from service_kit.database.sessions import is_server_gone


class RowLike(Protocol):
    """A row, as SQLAlchemy's mappings or the driver return it."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of a column."""


async def fetch_alone(engine: AsyncEngine, statement: str, *values: object) -> Sequence[RowLike]:
    """Return the rows of ``statement``, whose parameters are $1, $2 and so on.

    Raises:
        Exception: the driver's errors, as they are.
    """
    async with borrowed_driver(engine) as driver:
        rows: Sequence[RowLike] = await driver.fetch(statement, *values)
    return rows


async def ping(engine: AsyncEngine) -> None:
    """Require that the database responds and can be written.

    Raises:
        NotWritable: it takes no changes.
    """
    [read_only] = await fetch_alone(engine, IS_READ_ONLY)
    if read_only["is_it"]:
        raise NotWritable


@asynccontextmanager
async def borrowed_driver(engine: AsyncEngine) -> AsyncIterator[Any]:
    """Borrow the driver's connection from the pool for the block."""
    borrowed = await engine.raw_connection()
    driver: Any = borrowed.driver_connection
    try:
        yield driver
    except BaseException as error:
        # A cancelled statement may still be at work, even a BEGIN. Of a server that is no primary
        # the pool's other sessions say so themselves, when they are taken.
        is_whole = isinstance(error, Exception) and not driver.is_in_transaction()
        if not is_whole or ends_session(error) or is_server_gone(sqlstate(error)):
            borrowed.invalidate()
        else:
            borrowed.close()
        raise
    borrowed.close()


async def fetch_rows(
    connection: AsyncConnection, statement: str, *values: object
) -> Sequence[Sequence[Any]]:
    """Return the rows of ``statement``, whose parameters are $1, $2 and so on.

    It runs on the session of ``connection``, in the transaction that this has begun, if any.

    Raises:
        DBAPIError: the server refuses, or is away, as with SQLAlchemy.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    try:
        rows: Sequence[Sequence[Any]] = await driver.fetch(statement, *values)
    except (*DRIVER_ERRORS, OSError) as error:
        raise DBAPIError(None, None, error) from error
    return rows
