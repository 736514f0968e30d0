"""Claim the next event of each lane from the backlog, and mark events as published.

A lane is a user's events, or the events of one type about no user; it is published in order. A
claim takes the first event of each of the next lanes, so nobody waits for another's burst.

Guarantees: an event is found by its state, never by "position greater than the last", because
transactions commit out of the order of their positions. No row is locked while a confirm is
outstanding. The work per event grows neither with the log, the backlog or one user's burst, nor
with the events that are set aside: an index holds only what may be published, by lane. A row that
another session has locked is skipped until later.

Not here: setting events aside (``set_aside``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    SmallInteger,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import LANE, outbox_events
from contracts.events import UserDeleted
from contracts.events.envelope import StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent(StoredEvent):
    """A row of the outbox, as it is published."""

    position: int

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

_LANE: Final = f'({LANE}) COLLATE "C"'

_FIRST_OF_NEXT_LANE: Final = f"""
    SELECT {_LANE} AS lane, position FROM outbox_events
    WHERE published_at IS NULL AND set_aside = 0
      AND position <> ALL (CAST(:held AS bigint[])) AND {_LANE} > %s
    ORDER BY {_LANE}, position LIMIT 1
"""  # noqa: S608 - made of a constant

# PostgreSQL has no plan that skips from one lane to the next, so each step looks for one lane.
_CLAIM: Final = text(
    f"""
    WITH RECURSIVE claimed AS (
        SELECT 1 AS number, first.lane, first.position
        FROM ({_FIRST_OF_NEXT_LANE % "CAST(:after AS text)"}) AS first
        UNION ALL
        SELECT claimed.number + 1, next.lane, next.position
        FROM claimed CROSS JOIN LATERAL ({_FIRST_OF_NEXT_LANE % "claimed.lane"}) AS next
        WHERE claimed.number < :limit
    )
    SELECT position, event_id, type, user_id, version, occurred_at,
           CAST(payload AS text) AS payload, traceparent, lane
    FROM claimed JOIN outbox_events USING (position)
    """  # noqa: S608 - made of constants
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


@dataclass(frozen=True, slots=True)
class Claim:
    """The first event of each lane, in order of position; ``last`` is the last of these lanes."""

    events: list[RecordedEvent]
    last: str


async def claim(
    connection: AsyncConnection, limit: int, *, after: str = "", held: Collection[int] = ()
) -> Claim:
    """Read the first event of each of the next lanes that is not published, set aside or ``held``.

    Parameters:
        connection: to read with.
        limit: the largest number of lanes, at least one.
        after: the lane after which to begin; lanes come in their own order, not in that of time.
        held: positions to skip: these events are published but cannot be marked yet.
    """
    values = {"limit": limit, "after": after, "held": list(held)}
    rows = [dict(row) for row in (await connection.execute(_CLAIM, values)).mappings()]
    last = max((row.pop("lane") for row in rows), default=after)
    events = [RecordedEvent(**row) for row in rows]
    return Claim(sorted(events, key=lambda event: event.position), last)


async def mark_published(connection: AsyncConnection, positions: list[int]) -> None:
    """Mark the events at ``positions`` as published.

    The events must belong to different lanes. A deletion locks the rows of one user, so this
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
