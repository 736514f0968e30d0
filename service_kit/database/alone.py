"""Run one statement past SQLAlchemy: as a transaction of its own, or on a session at hand.

For the most frequent statements: what SQLAlchemy does for one, with BEGIN and COMMIT, takes four
fifths of the time, and for one with many rows a third. The driver prepares each statement once per
connection.

Guarantees: a session that has ended does not return to the pool.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_kit.database.away import DRIVER_ERRORS
from service_kit.database.engines import ends_session


class RowLike(Protocol):
    """A row, as SQLAlchemy's mappings or the driver return it."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of a column."""


async def fetch_alone(engine: AsyncEngine, statement: str, *values: object) -> Sequence[RowLike]:
    """Return the rows of ``statement``, whose parameters are $1, $2 and so on.

    Raises:
        Exception: the driver's errors, as they are.
    """
    borrowed = await engine.raw_connection()
    driver: Any = borrowed.driver_connection
    try:
        rows: Sequence[RowLike] = await driver.fetch(statement, *values)
    except BaseException as error:
        if isinstance(error, Exception) and ends_session(error):
            borrowed.invalidate()
        else:
            borrowed.close()
        raise
    borrowed.close()
    return rows


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
