"""Record heartbeats: numbered events that travel like every other event.

A replica that receives the next number has received everything published before it. A missing
number means that messages were lost. No heartbeat at all means that the pipeline is broken, not
idle. Events that are set aside are published later, and count as unpublished until then.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert

from auth_service.outbox.table import RELAY_LEASE, SOURCE_IS_FREE, outbox_events, source
from contracts.events import Heartbeat


def _record(*, waits: bool) -> ReturningInsert[Any]:
    """Build the statement; unless it ``waits``, it skips a row that another session has locked."""
    number = update(source).values(heartbeat=source.c.heartbeat + 1, heartbeat_at=func.now())
    if not waits:
        number = number.where(SOURCE_IS_FREE)
    numbered = number.returning(source.c.heartbeat, source.c.identity).cte("numbered")
    payload = func.json_build_object("number", numbered.c.heartbeat)
    return (
        insert(outbox_events)
        .from_select(["type", "payload"], select(literal(Heartbeat.type), payload))
        .returning(
            select(numbered.c.identity).scalar_subquery().label("source"),
            select(numbered.c.heartbeat).scalar_subquery().label("number"),
            outbox_events.c.occurred_at,
            RELAY_LEASE.wake(),
        )
    )


_RECORD = _record(waits=True)
_RECORD_IF_FREE = _record(waits=False)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded heartbeat: the source's identity, and the event's number and time."""

    source: UUID
    number: int
    at: datetime


async def record_heartbeat(connection: AsyncConnection) -> Recorded:
    """Record the next heartbeat and wake the relay.

    One statement: no number exists without its event, in autocommit either.
    """
    row = (await connection.execute(_RECORD)).one()
    return Recorded(row.source, row.number, row.occurred_at)


async def record_heartbeat_if_free(connection: AsyncConnection) -> bool:
    """Record a heartbeat unless another session has locked ``source``; return whether it did."""
    return (await connection.execute(_RECORD_IF_FREE)).one_or_none() is not None
