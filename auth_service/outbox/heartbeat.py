"""Record the heartbeat: a numbered event that goes the way of all events.

A replica that sees the next number knows that everything recorded before it has arrived; one that
misses a number knows that messages were lost; one that sees none knows that the pipe is broken,
not quiet.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import WAKE_UP_CHANNEL, outbox_events, source
from contracts.events import Heartbeat

_NUMBERED = (
    update(source)
    .values(heartbeat=source.c.heartbeat + 1, heartbeat_at=func.now())
    .returning(source.c.heartbeat, source.c.identity)
    .cte("numbered")
)

_RECORD = (
    insert(outbox_events)
    .from_select(
        ["type", "payload"],
        select(literal(Heartbeat.type), func.json_build_object("number", _NUMBERED.c.heartbeat)),
    )
    .returning(
        select(_NUMBERED.c.identity).scalar_subquery().label("source"),
        select(_NUMBERED.c.heartbeat).scalar_subquery().label("number"),
        outbox_events.c.occurred_at,
        func.pg_notify(WAKE_UP_CHANNEL, ""),
    )
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A heartbeat in the outbox: of which source, and the number and time that it goes out with."""

    source: UUID
    number: int
    at: datetime


async def record_heartbeat(connection: AsyncConnection) -> Recorded:
    """Number and record the next heartbeat, and wake the relay.

    One statement, so that no number is ever without its event, in autocommit as well.
    """
    row = (await connection.execute(_RECORD)).one()
    return Recorded(row.source, row.number, row.occurred_at)
