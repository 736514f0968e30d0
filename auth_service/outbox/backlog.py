"""Read the head of the backlog of unpublished events, and mark events as published.

Guarantees: an event is found by its state, never by "position greater than the last", because
transactions commit out of the order of their positions. No row is locked while a confirm is
outstanding. The work per event grows neither with the log nor with the events that are set aside,
because an index holds only unpublished events, those set aside last. A row that another session has
locked is skipped until later.

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
    null,
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
        """The user, or the type of an event about no user: one lane is published in order."""
        return self.user_id or self.type

    @property
    def is_erased(self) -> bool:
        """Whether nothing is left to publish; the user's tombstone follows."""
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
"""The columns of a ``RecordedEvent``."""

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

_ERASED = select(outbox_events.c.position).where(
    _GIVEN, outbox_events.c.payload.is_(null()), outbox_events.c.type != UserDeleted.type
)


async def head(
    connection: AsyncConnection, limit: int, held: Collection[int] = ()
) -> list[RecordedEvent]:
    """Read the first events, by position, that are not published, set aside or ``held``.

    Parameters:
        connection: to read with.
        limit: the largest number of events.
        held: positions to skip: these events are published but cannot be marked yet.
    """
    rows = await connection.execute(_HEAD, {"limit": limit, "held": list(held)})
    return [RecordedEvent(**row) for row in rows.mappings()]


async def mark_published(connection: AsyncConnection, positions: list[int]) -> None:
    """Mark the events at ``positions`` as published.

    The events must belong to different users. A deletion locks the rows of one user, so this
    statement and a deletion cannot deadlock.

    Raises:
        DBAPIError: another session has locked a row (``service_kit.database.away.is_locked``).
    """
    await connection.execute(_MARK, {"positions": positions})


async def mark_unlocked(connection: AsyncConnection, positions: Collection[int]) -> set[int]:
    """Mark the unlocked rows at ``positions`` as published; return the other positions."""
    free = list(await connection.scalars(_FREE, {"positions": list(positions)}))
    if free:
        # Another session may have locked one since; then this fails like ``mark_published``.
        await mark_published(connection, free)
    return set(await connection.scalars(_LEFT, {"positions": list(positions)}))


async def erased(connection: AsyncConnection, positions: Collection[int]) -> set[int]:
    """Return which of the events at ``positions`` have lost their payload since they were read."""
    return set(await connection.scalars(_ERASED, {"positions": list(positions)}))


def waves(events: list[RecordedEvent]) -> list[list[RecordedEvent]]:
    """Split ``events`` into waves with at most one event per lane, in order.

    The first wave has the first event of every lane, the second the second, and so on. All events
    of a wave can be in flight at the same time.
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
