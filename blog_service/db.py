"""The connection to the blog's database.

Every session has its time limits from the start, so that no statement can hang a request or a lock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import MetaData, PoolProxiedConnection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from blog_service.settings import DatabaseSettings

R = TypeVar("R")


class Found(Protocol):
    """A row, whoever read it: SQLAlchemy (its mappings) or the driver."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of a column."""


metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

DATABASE_AWAY = (SQLAlchemyError, OSError)
"""What a worker meets when its database stops, restarts or refuses: wait and try again."""

CONNECT_TIMEOUT_SECONDS = 5
"""A database that is there accepts in milliseconds."""

GRACE_SECONDS = 2
"""How much later than the server the client gives a statement up: then the server is silent."""


def connect(settings: DatabaseSettings) -> AsyncEngine:
    """An engine of bounded size; it connects when first used."""
    return create_async_engine(
        settings.database_url,
        hide_parameters=True,
        pool_size=settings.database_connections_max,
        max_overflow=0,
        pool_timeout=settings.statement_timeout_ms / 1000,
        connect_args={
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": settings.statement_timeout_ms / 1000 + GRACE_SECONDS,
            "server_settings": {
                "application_name": "blog-service",
                "timezone": "UTC",
                "statement_timeout": str(settings.statement_timeout_ms),
                "lock_timeout": str(settings.lock_timeout_ms),
                "idle_in_transaction_session_timeout": str(2 * settings.statement_timeout_ms),
            },
        },
    )


def on_database(settings: DatabaseSettings, work: Callable[[AsyncEngine], Awaitable[R]]) -> R:
    """What ``work`` returns, given an engine, in a command: with an event loop of its own."""

    async def run() -> R:
        engine = connect(settings)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


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
        borrowed, driver = await self._borrow()
        while driver.is_closed():  # the server ended it while it was idle
            borrowed.invalidate()
            borrowed, driver = await self._borrow()
        try:
            rows: Sequence[Found] = await driver.fetch(statement, *values)
            return rows
        finally:
            borrowed.close()

    async def _borrow(self) -> tuple[PoolProxiedConnection, Any]:
        borrowed = await self._engine.raw_connection()
        return borrowed, borrowed.driver_connection


async def ask(engine: AsyncEngine) -> None:
    """Raise unless the database answers."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
