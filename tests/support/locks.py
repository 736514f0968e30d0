"""Observe lock waits in PostgreSQL, and let work meet the lock of a transaction."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.eventually import eventually
from tests.support.inbox import fetch

T = TypeVar("T")


async def lock_waits(engine: AsyncEngine, kind: str = "%") -> int:
    """Count the sessions of this database that wait for a lock, for example an ``advisory`` one."""
    sessions = await fetch(
        engine,
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND wait_event LIKE :kind",
        kind=kind,
    )
    return len(sessions)


async def until_waiting(engine: AsyncEngine, sessions: int = 1) -> None:
    async def are_waiting() -> bool:
        return await lock_waits(engine) >= sessions

    await eventually(are_waiting)


async def after_waiting(
    engine: AsyncEngine,
    work: Coroutine[Any, Any, T],
    *changes: str,
    then: str = "SELECT",
    sessions: int = 1,
) -> T:
    """Return what ``work`` returns after it has waited for a transaction.

    Parameters:
        changes: what the transaction does before the work begins.
        then: what it does once the work waits, before it commits.
        sessions: how many of the work's sessions wait by then.
    """
    async with engine.begin() as connection:
        for change in changes:
            await connection.exec_driver_sql(change)
        waiting = asyncio.create_task(work)
        await until_waiting(engine, sessions)
        await connection.exec_driver_sql(then)
    return await waiting
