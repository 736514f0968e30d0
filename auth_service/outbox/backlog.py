"""Claim the next event of each lane from the backlog, and mark events as published.

A lane is a user's events, or the events of one type about no user; it is published in order. A
claim takes the first event of each of the next lanes, so nobody waits for another's burst. Urgent
events come before their turn.

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
"""The columns of a ``RecordedEvent``, all but ``is_urgent``: what is replayed, or sent as a probe,
needs no copy, and the queue of copies alone would confirm a probe that has one."""

_NO = literal_column("0", SmallInteger)
_UNPUBLISHED = outbox_events.c.published_at.is_(None)
_GIVEN = outbox_events.c.position == any_(bindparam("positions", type_=ARRAY(BigInteger)))

_LANE: Final = f'({LANE}) COLLATE "C"'

# PostgreSQL has no plan that skips from one lane to the next, so each step looks for one lane.
_FIRST_OF_NEXT_LANE: Final = f"""
    SELECT {_LANE} AS lane, position FROM outbox_events
    WHERE published_at IS NULL AND set_aside = 0
      AND position <> ALL (CAST(:held AS bigint[])) AND {_LANE} > %s %s
    ORDER BY {_LANE}, position LIMIT 1
"""  # noqa: S608 - made of a constant

_FIRST_OF_EACH_LANE: Final = """
    SELECT 1 AS number, first.lane, first.position FROM ({first}) AS first
    UNION ALL
    SELECT before.number + 1, next.lane, next.position
    FROM {name} AS before CROSS JOIN LATERAL ({following}) AS next
    WHERE before.number < :{limit}
"""


def _first_of_each_lane(name: str, *, after: str, limit: str, condition: str = "") -> str:
    """Build the recursive query ``name`` of the first events that also meet a condition."""
    first = _FIRST_OF_NEXT_LANE % (after, condition)
    following = _FIRST_OF_NEXT_LANE % ("before.lane", condition)
    query = _FIRST_OF_EACH_LANE.format(name=name, first=first, following=following, limit=limit)
    return f"{name} AS ({query})"


_URGENT: Final = _first_of_each_lane(
    "urgent", after="CAST('' AS text)", limit="urgent_limit", condition="AND is_urgent"
)
_IN_TURN: Final = _first_of_each_lane("in_turn", after="CAST(:after AS text)", limit="limit")

_CLAIM: Final = text(
    f"""
    WITH RECURSIVE {_URGENT}, {_IN_TURN}, claimed AS (
        SELECT lane, position, true AS is_ahead FROM urgent
        UNION ALL SELECT lane, position, false FROM in_turn
    )
    SELECT position, event_id, type, user_id, version, occurred_at,
           CAST(payload AS text) AS payload, traceparent, is_urgent, lane, is_ahead
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
    """One event of each of some lanes, urgent ones first, then in order of position.

    ``last`` is the last lane that had its turn; ``is_last``: no lane is left after it.
    """

    events: list[RecordedEvent]
    last: str
    is_last: bool


async def claim(
    connection: AsyncConnection, limit: int, *, after: str = "", held: Collection[int] = ()
) -> Claim:
    """Read the first event of each of the next lanes that is not published, set aside or ``held``.

    Urgent events come before their turn, and before earlier events of their lane. They are at most
    half of a claim, and one lane at least has its turn: so others continue, also while the broker
    refuses an urgent event, which is tried with each claim.

    Parameters:
        connection: to read with.
        limit: the largest number of events, at least one; for one, there may be an urgent one more.
        after: the lane after which to begin; lanes come in their own order, not in that of time.
        held: positions to skip: these events are published but cannot be marked yet.
    """
    values = {"limit": limit, "urgent_limit": max(1, limit // 2), "after": after, "held": [*held]}
    urgent: dict[str, RecordedEvent] = {}
    in_turn: dict[str, RecordedEvent] = {}
    for row in (await connection.execute(_CLAIM, values)).mappings():
        columns = dict(row)
        lane, is_ahead = columns.pop("lane"), columns.pop("is_ahead")
        (urgent if is_ahead else in_turn)[lane] = RecordedEvent(**columns)
    lanes = sorted(in_turn)[: max(1, limit - len(urgent))]
    events = ({lane: in_turn[lane] for lane in lanes} | urgent).values()
    return Claim(
        sorted(events, key=lambda event: (not event.is_urgent, event.position)),
        last=max(lanes, default=after),
        is_last=len(lanes) == len(in_turn) < limit,
    )


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
