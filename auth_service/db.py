"""The connection to the auth database, made as ``service_kit.database`` has it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import MetaData, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.settings import DatabaseSettings
from service_kit.database.away import DATABASE_AWAY, DATABASE_ERRORS, ask
from service_kit.database.commands import run_with
from service_kit.database.engines import pooled
from service_kit.database.schema import NAMING

__all__ = [
    "DATABASE_AWAY",
    "DATABASE_ERRORS",
    "ask",
    "connect",
    "holding",
    "metadata",
    "on_database",
]

R = TypeVar("R")

metadata = MetaData(naming_convention=NAMING)


def connect(settings: DatabaseSettings) -> AsyncEngine:
    """An engine of bounded size; it connects when first used."""
    return pooled(settings, "auth-service")


def on_database(settings: DatabaseSettings, work: Callable[[AsyncEngine], Awaitable[R]]) -> R:
    """What ``work`` returns, given an engine, in a command: with an event loop of its own."""
    return run_with(lambda: connect(settings), work)


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
