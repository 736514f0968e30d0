"""Record the heartbeat: a numbered event that goes the way of all events.

A replica that sees the next number knows that everything recorded before it has arrived; one that
misses a number knows that messages were lost; one that sees none knows that the pipe is broken,
not quiet.
"""

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import WAKE_UP_CHANNEL, outbox_events, source
from contracts.events import Heartbeat

_NUMBERED = (
    update(source)
    .values(heartbeat=source.c.heartbeat + 1, heartbeat_at=func.now())
    .returning(source.c.heartbeat)
    .cte("numbered")
)

_RECORD = (
    insert(outbox_events)
    .from_select(
        ["type", "payload"],
        select(literal(Heartbeat.type), func.json_build_object("number", _NUMBERED.c.heartbeat)),
    )
    .returning(func.pg_notify(WAKE_UP_CHANNEL, ""))
)


async def record_heartbeat(connection: AsyncConnection) -> None:
    """Number and record the next heartbeat.

    One statement, so that no number is ever without its event, in autocommit as well.
    """
    await connection.execute(_RECORD)
