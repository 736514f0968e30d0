"""Run several statements in one transaction, past SQLAlchemy.

Guarantees: the block's statements are committed together when it ends, or not at all. A session
that has ended, or whose transaction may still be open, does not return to the pool.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.database.alone import RowLike, borrowed_driver


class Transaction:
    """An open transaction."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def fetch(self, statement: str, *values: object) -> Sequence[RowLike]:
        """Return the rows of ``statement``, whose parameters are $1, $2 and so on.

        Raises:
            Exception: the driver's errors, as they are.
        """
        rows: Sequence[RowLike] = await self._driver.fetch(statement, *values)
        return rows


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[Transaction]:
    """Open a transaction for the block; an error rolls it back."""
    async with borrowed_driver(engine) as driver, driver.transaction():
        yield Transaction(driver)
