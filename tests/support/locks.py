"""Observe lock waits in PostgreSQL."""

from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.eventually import eventually
from tests.support.inbox import fetch


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
