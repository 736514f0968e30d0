"""The connection to the blog's database, made as ``service_kit.database`` has it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.settings import DatabaseSettings
from service_kit.database.away import DATABASE_AWAY, ask
from service_kit.database.commands import run_with
from service_kit.database.engines import ends_session, pooled
from service_kit.database.schema import NAMING

__all__ = ["DATABASE_AWAY", "Found", "Reader", "ask", "connect", "metadata", "on_database"]

R = TypeVar("R")

READS_MAX = 2
"""How often a read is tried whose session ends under it: nothing is changed by trying again."""

metadata = MetaData(naming_convention=NAMING)


class Found(Protocol):
    """A row, whoever read it: SQLAlchemy (its mappings) or the driver."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of a column."""


def connect(settings: DatabaseSettings) -> AsyncEngine:
    """An engine of bounded size; it connects when first used."""
    return pooled(settings, "blog-service")


def on_database(settings: DatabaseSettings, work: Callable[[AsyncEngine], Awaitable[R]]) -> R:
    """What ``work`` returns, given an engine, in a command: with an event loop of its own."""
    return run_with(lambda: connect(settings), work)


class Reader:
    """Reads with one statement at a time, on the engine's connections and past the rest of it.

    For what is read the most: what SQLAlchemy does for a statement, BEGIN and ROLLBACK around it
    included, costs more than a page of posts costs PostgreSQL. The driver prepares each statement
    once a connection.

    Readers wait in turn, which the pool does not see to: whoever comes at the right moment gets its
    connection first, and the last of a crowd waits for several times as long as the others.

    Parameters:
        engine: the blog's database.
        at_once: how many statements may be under way; the rest of the connections is for writers.
        wait_seconds: how long to wait for one's turn.
    """

    def __init__(self, engine: AsyncEngine, *, at_once: int, wait_seconds: float) -> None:
        self._engine = engine
        self._turns = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds

    async def rows(self, statement: str, *values: object) -> Sequence[Found]:
        """The rows of ``statement``, whose values are $1 and so on.

        Raises:
            TimeoutError: the turn did not come in time.
        """
        async with asyncio.timeout(self._wait_seconds):
            await self._turns.acquire()
        try:
            return await self._rows(statement, *values)
        finally:
            self._turns.release()

    async def _rows(self, statement: str, *values: object) -> Sequence[Found]:
        tries_left = READS_MAX
        while True:
            tries_left -= 1
            borrowed = await self._engine.raw_connection()
            driver: Any = borrowed.driver_connection
            try:
                rows: Sequence[Found] = await driver.fetch(statement, *values)
            except Exception as error:
                if ends_session(error):
                    borrowed.invalidate()
                    if tries_left and not isinstance(error, TimeoutError):
                        continue
                else:
                    borrowed.close()
                raise
            except BaseException:
                borrowed.close()
                raise
            borrowed.close()
            return rows
