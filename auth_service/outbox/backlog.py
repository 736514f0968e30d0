"""The backlog of unpublished events: look at its head, mark what went out.

Guarantees: an event is found by its state, never by "position greater than the last", for
transactions commit out of the order of their positions; no row is locked while a confirm is
outstanding; the work per event does not grow with the log, for an index holds the unpublished ones
alone.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text, any_, bindparam, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import outbox_events
from contracts.events import UserDeleted


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """An event as the outbox holds it. ``payload`` is JSON text, None once erased."""

    position: int
    event_id: UUID
    type: str
    user_id: UUID | None
    version: int | None
    occurred_at: datetime
    payload: str | None
    traceparent: str | None

    @property
    def is_erased(self) -> bool:
        """Nothing is left to publish; the user's tombstone follows."""
        return self.payload is None and self.type != UserDeleted.type


COLUMNS = (
    outbox_events.c.position,
    outbox_events.c.event_id,
    outbox_events.c.type,
    outbox_events.c.user_id,
    outbox_events.c.version,
    outbox_events.c.occurred_at,
    cast(outbox_events.c.payload, Text).label("payload"),
    outbox_events.c.traceparent,
)
"""What a ``RecordedEvent`` is made of."""

_HEAD = (
    select(*COLUMNS)
    .where(outbox_events.c.published_at.is_(None))
    .order_by(outbox_events.c.position)
    .limit(bindparam("limit"))
)

_MARK = (
    update(outbox_events)
    .where(
        outbox_events.c.position == any_(bindparam("positions", type_=ARRAY(BigInteger))),
        outbox_events.c.published_at.is_(None),
    )
    .values(published_at=func.clock_timestamp())
)


async def head(connection: AsyncConnection, limit: int) -> list[RecordedEvent]:
    """The first unpublished events by position, at most ``limit``."""
    rows = await connection.execute(_HEAD, {"limit": limit})
    return [RecordedEvent(**row) for row in rows.mappings()]


async def mark_published(connection: AsyncConnection, positions: list[int]) -> None:
    """Take the events at ``positions`` out of the backlog.

    They must be of different users: then this statement and a deletion, which locks the rows of
    one user, can wait for each other in one direction only.
    """
    await connection.execute(_MARK, {"positions": positions})


def waves(events: list[RecordedEvent]) -> list[list[RecordedEvent]]:
    """Split ``events`` so that each wave has at most one event of a user, in order.

    The first wave has every user's first event, the second every user's second, and so on:
    within a wave all can be under way at once.
    """
    split: list[list[RecordedEvent]] = []
    depth: dict[UUID | None, int] = {}
    for event in events:
        wave = depth.get(event.user_id, 0)
        depth[event.user_id] = wave + 1
        if wave == len(split):
            split.append([])
        split[wave].append(event)
    return split
