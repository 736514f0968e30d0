"""Record the heartbeat: a numbered event that goes the way of all events.

A replica that sees the next number knows that everything recorded before it has arrived; one that
misses a number knows that messages were lost; one that sees none knows that the pipe is broken,
not quiet.
"""

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.record import record
from auth_service.outbox.table import source
from contracts.events import Beat, Heartbeat


async def record_heartbeat(engine: AsyncEngine) -> int:
    """Record the next heartbeat; returns its number. The relay goes on from there."""
    numbered = (
        update(source)
        .values(heartbeat=source.c.heartbeat + 1, heartbeat_at=func.now())
        .returning(source.c.heartbeat)
    )
    async with engine.begin() as connection:
        number: int = (await connection.execute(numbered)).scalar_one()
        await record(connection, Heartbeat.type, Beat(number=number))
    return number
