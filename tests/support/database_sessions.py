"""Use a database session for one call, hold locks in one, and end those of others."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tests.support.inbox import fetch

P = ParamSpec("P")
T = TypeVar("T")
Use = Callable[Concatenate[AsyncConnection, P], Awaitable[T]]


async def reading(engine: AsyncEngine, use: Use[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Call ``use`` with a connection and roll back; return what it returns."""
    async with engine.connect() as connection:
        return await use(connection, *args, **named)


async def committed(engine: AsyncEngine, use: Use[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Call ``use`` in a transaction and commit; return what it returns."""
    async with engine.begin() as connection:
        return await use(connection, *args, **named)


@asynccontextmanager
async def holding(engine: AsyncEngine, *statements: str) -> AsyncIterator[AsyncConnection]:
    """Leave a transaction open inside the block, with what ``statements`` locked."""
    async with engine.connect() as connection:
        await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        for statement in statements:
            await connection.execute(text(statement))
        yield connection
        await connection.rollback()


async def end_sessions(engine: AsyncEngine, condition: str) -> int:
    """End the other sessions of this database for which the condition holds; return how many."""
    ended = await fetch(
        engine,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}",
    )
    return len(ended)


async def has_rolled_back(engine: AsyncEngine, times: int) -> bool:
    """Return whether so many transactions were rolled back in this database."""
    query = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    [row] = await fetch(engine, query)
    return bool(row.xact_rollback >= times)
