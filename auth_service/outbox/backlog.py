"""The backlog of unpublished events: look at its head, mark what went out.

Guarantees: an event is found by its state, never by "position greater than the last", for
transactions commit out of the order of their positions; no row is locked while a confirm is
outstanding; the work per event does not grow with the log, nor with what is set aside, for an index
holds the unpublished ones alone, in that order; a row that another session holds is left to later.

Not here: setting events aside (``set_aside``).
"""

from collections.abc import Collection, Hashable
from dataclasses import dataclass

from sqlalchemy import (
    ARRAY,
    BigInteger,
    SmallInteger,
    Text,
    all_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import outbox_events
from contracts.events import UserDeleted
from contracts.events.envelope import StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent(StoredEvent):
    """A row of the outbox, as it is published."""

    position: int

    @property
    def lane(self) -> Hashable:
        """Events of one lane go out one after the other: those of a user, else of a type."""
        return self.user_id or self.type

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

_NO = literal_column("0", SmallInteger)
_UNPUBLISHED = outbox_events.c.published_at.is_(None)
_GIVEN = outbox_events.c.position == any_(bindparam("positions", type_=ARRAY(BigInteger)))

_HEAD = (
    select(*COLUMNS)
    .where(
        _UNPUBLISHED,
        outbox_events.c.set_aside == _NO,
        outbox_events.c.position != all_(bindparam("held", type_=ARRAY(BigInteger))),
    )
    .order_by(outbox_events.c.position)
    .limit(bindparam("limit"))
)

_MARK = (
    update(outbox_events)
    .where(_GIVEN, _UNPUBLISHED)
    .values(published_at=func.clock_timestamp(), set_aside=_NO)
)

_FREE = (
    select(outbox_events.c.position)
    .where(_GIVEN, _UNPUBLISHED)
    .with_for_update(key_share=True, skip_locked=True)
)

_LEFT = select(outbox_events.c.position).where(_GIVEN, _UNPUBLISHED)


async def head(
    connection: AsyncConnection, limit: int, held: Collection[int] = ()
) -> list[RecordedEvent]:
    """The first events by position that are neither published, set aside nor ``held``.

    Parameters:
        connection: to read with.
        limit: how many at most.
        held: positions to leave out: they are out, and cannot be marked yet.
    """
    rows = await connection.execute(_HEAD, {"limit": limit, "held": list(held)})
    return [RecordedEvent(**row) for row in rows.mappings()]


async def mark_published(connection: AsyncConnection, positions: list[int]) -> None:
    """Take the events at ``positions`` out of the backlog.

    They must be of different users: then this statement and a deletion, which locks the rows of
    one user, can wait for each other in one direction only.

    Raises:
        DBAPIError: another session holds one of the rows (``service_kit.database.away.is_held``).
    """
    await connection.execute(_MARK, {"positions": positions})


async def mark_unlocked(connection: AsyncConnection, positions: Collection[int]) -> set[int]:
    """Take those at ``positions`` out of the backlog whose rows nobody holds; the others."""
    free = list(await connection.scalars(_FREE, {"positions": list(positions)}))
    if free:
        # Somebody may have taken one since; then it is as if all had been.
        await mark_published(connection, free)
    return set(await connection.scalars(_LEFT, {"positions": list(positions)}))


def waves(events: list[RecordedEvent]) -> list[list[RecordedEvent]]:
    """Split ``events`` so that each wave has at most one event of a lane, in order.

    The first wave has every lane's first event, the second every lane's second, and so on:
    within a wave all can be under way at once.
    """
    split: list[list[RecordedEvent]] = []
    depth: dict[Hashable, int] = {}
    for event in events:
        wave = depth.get(event.lane, 0)
        depth[event.lane] = wave + 1
        if wave == len(split):
            split.append([])
        split[wave].append(event)
    return split
