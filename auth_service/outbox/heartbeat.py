"""Record the heartbeat: a numbered event that goes the way of all events.

A replica that sees the next number knows that everything published before it has arrived; one that
misses a number knows that messages were lost; one that sees none knows that the pipe is broken,
not quiet. What is set aside goes out later, and counts as unpublished until then.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert

from auth_service.outbox.table import SOURCE_IS_FREE, WAKE_UP_CHANNEL, outbox_events, source
from auth_service.outbox.wake import wake
from contracts.events import Heartbeat


def _record(*, waits: bool) -> ReturningInsert[Any]:
    """The statement; unless it ``waits``, it does nothing while another session holds the row."""
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
            wake(WAKE_UP_CHANNEL),
        )
    )


_RECORD = _record(waits=True)
_RECORD_IF_FREE = _record(waits=False)


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


async def record_heartbeat_if_free(connection: AsyncConnection) -> bool:
    """Do the same unless another session holds the row of ``source``; whether it was done."""
    return (await connection.execute(_RECORD_IF_FREE)).one_or_none() is not None
