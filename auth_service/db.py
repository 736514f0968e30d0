"""The connection to the auth database.

Every session has its time limits from the start, so that no statement can hang a request or a lock.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg
from sqlalchemy import MetaData, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from auth_service.settings import DatabaseSettings

R = TypeVar("R")

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

DATABASE_ERRORS = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What only a database raises."""

DATABASE_AWAY = (*DATABASE_ERRORS, OSError)
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
                "application_name": "auth-service",
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


@asynccontextmanager
async def holding(engine: AsyncEngine, lock_key: int) -> AsyncIterator[AsyncConnection | None]:
    """A connection that has an advisory lock inside the block; None when another session has it.

    The lock ends with the session: work on that very connection cannot go on without it.
    """
    async with engine.connect() as connection:
        try:
            is_held = await connection.scalar(select(func.pg_try_advisory_lock(lock_key)))
            await connection.commit()
            yield connection if is_held else None
            if is_held:
                await connection.execute(select(func.pg_advisory_unlock(lock_key)))
                await connection.commit()
        except BaseException:
            await connection.invalidate()  # not back to the pool, with the lock
            raise


async def ask(engine: AsyncEngine) -> None:
    """Raise unless the database answers."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
