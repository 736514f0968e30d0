"""Claim the next event of each lane from the backlog, and mark events as published.

A lane is a user's events, or the events of one type about no user; it is published in order. A
claim takes the first event of each lane among the oldest events. If a few lanes have most of those,
the next claims go from lane to lane, so nobody waits for another's burst. Urgent events come before
their turn.

Guarantees: an event is found by its state, never by "position greater than the last", because
transactions commit out of the order of their positions. No row is locked while a confirm is
outstanding. The work per event grows neither with the log, the backlog or one user's burst, nor
with the events that are set aside: an index holds only what may be published, by lane. A row that
another session has locked is skipped until later.

Not here: setting events aside (``set_aside``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final
from uuid import UUID

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
from service_kit.database.alone import fetch_rows
from service_kit.database.sessions import NO_WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent(StoredEvent):
    """A row of the outbox, as it is published."""

    position: int

    @property
    def lane(self) -> str:
        """What the event is in order with: its user, or its type if it is about no user."""
        return self.type if self.user_id is None else str(self.user_id)

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


def recorded_event(
    position: int,
    event_id: UUID,
    event_type: str,
    user_id: UUID | None,
    version: int | None,
    occurred_at: datetime,
    payload: str | None,
    traceparent: str | None,
    is_urgent: bool = False,
) -> RecordedEvent:
    """Make an event of the values of ``COLUMNS``, and of whether it is urgent."""
    return RecordedEvent(
        position=position,
        event_id=event_id,
        type=event_type,
        user_id=user_id,
        version=version,
        occurred_at=occurred_at,
        payload=payload,
        traceparent=traceparent,
        is_urgent=is_urgent,
    )


_NO = literal_column("0", SmallInteger)
_UNPUBLISHED = outbox_events.c.published_at.is_(None)
_GIVEN = outbox_events.c.position == any_(bindparam("positions", type_=ARRAY(BigInteger)))

_LANE: Final = f'({LANE}) COLLATE "C"'

# PostgreSQL has no plan that skips from one lane to the next, so each step looks for one lane.
_FIRST_OF_NEXT_LANE: Final = f"""
    SELECT {_LANE} AS lane, position FROM outbox_events
    WHERE published_at IS NULL AND set_aside = 0
      AND position <> ALL ($3::bigint[]) AND {_LANE} > %s %s
    ORDER BY {_LANE}, position LIMIT 1
"""  # noqa: S608 - made of a constant

_FIRST_OF_EACH_LANE: Final = """
    SELECT 1 AS number, first.lane, first.position FROM ({first}) AS first
    UNION ALL
    SELECT before.number + 1, next.lane, next.position
    FROM {name} AS before CROSS JOIN LATERAL ({following}) AS next
    WHERE before.number < {limit}
"""


def _first_of_each_lane(name: str, *, after: str, limit: str, condition: str = "") -> str:
    """Build the recursive query ``name`` of the first events that also meet a condition."""
    first = _FIRST_OF_NEXT_LANE % (after, condition)
    following = _FIRST_OF_NEXT_LANE % ("before.lane", condition)
    query = _FIRST_OF_EACH_LANE.format(name=name, first=first, following=following, limit=limit)
    return f"{name} AS ({query})"


_URGENT: Final = _first_of_each_lane("urgent", after="''", limit="$2", condition="AND is_urgent")
_IN_TURN: Final = _first_of_each_lane("in_turn", after="$4", limit="$1")

_OLDEST: Final = """
    in_turn AS (
        SELECT position FROM outbox_events
        WHERE published_at IS NULL AND set_aside = 0
          AND position <> ALL ($3::bigint[])
        ORDER BY position LIMIT $1
    )
"""

_CLAIM: Final = """
    WITH RECURSIVE {urgent}, {in_turn}, claimed AS (
        SELECT position, true AS is_ahead FROM urgent
        UNION ALL SELECT position, false FROM in_turn
    )
    SELECT is_ahead, position, event_id, type, user_id, version, occurred_at,
           CAST(payload AS text), traceparent, is_urgent
    FROM claimed JOIN outbox_events USING (position)
"""

_BY_LANE: Final = _CLAIM.format(urgent=_URGENT, in_turn=_IN_TURN)
_BY_AGE: Final = _CLAIM.format(urgent=_URGENT, in_turn=_OLDEST)

# A mark that is lost in a crash repeats an event, which changes nothing.
_NO_WAIT = text(f"(SELECT {NO_WAIT}) = 'off'")

_MARK = (
    update(outbox_events)
    .where(_GIVEN, _UNPUBLISHED, _NO_WAIT)
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

    ``next_lane`` is where the next claim begins: None for the oldest events, else after that lane.
    ``is_last``: nothing else could be claimed at the time but later events of the same lanes.
    """

    events: list[RecordedEvent]
    next_lane: str | None
    is_last: bool


async def claim(
    connection: AsyncConnection,
    limit: int,
    *,
    after: str | None = None,
    held: Collection[int] = (),
    busy: Collection[str] = (),
) -> Claim:
    """Read the first event of each of some lanes that is not published, set aside or ``held``.

    Urgent events come before their turn, and before earlier events of their lane. They are at most
    half of a claim, and one lane at least has its turn: so others continue, also while the broker
    refuses an urgent event, which is tried with each claim.

    Parameters:
        connection: to read with.
        limit: the largest number of events, at least one; for one, there may be an urgent one more.
        after: the lane after which to begin; lanes come in their own order. None for the lanes of
            the oldest events.
        held: positions to skip: these events are published but cannot be marked yet.
        busy: lanes to skip, which have an event in flight each.
    """
    is_by_age = after is None
    # The oldest events include those in flight.
    wanted = limit + len(busy) if is_by_age else limit
    values = (wanted, max(1, limit // 2), held)
    if is_by_age:
        rows = await fetch_rows(connection, _BY_AGE, *values)
    else:
        rows = await fetch_rows(connection, _BY_LANE, *values, after)
    urgent: dict[str, RecordedEvent] = {}
    in_turn: dict[str, RecordedEvent] = {}
    read = 0
    for is_ahead, *columns in sorted(rows, key=itemgetter(1)):  # by position
        event = recorded_event(*columns)
        lane = event.lane
        read += not is_ahead
        if lane not in busy:
            (urgent if is_ahead else in_turn).setdefault(lane, event)
    order = list(in_turn) if is_by_age else sorted(in_turn)
    lanes = order[: max(1, limit - len(urgent))]
    events = ({lane: in_turn[lane] for lane in lanes} | urgent).values()
    is_last = read < wanted and len(lanes) == len(in_turn)
    if is_by_age:
        # A few lanes with many events each: wave after wave would be as small.
        is_crowded = read == wanted and len(in_turn) < limit / 2
        next_lane = "" if is_crowded else None
    else:
        next_lane = None if is_last else max(lanes, default=after)
    return Claim(
        sorted(events, key=lambda event: (not event.is_urgent, event.position)),
        next_lane=next_lane,
        is_last=is_last,
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
