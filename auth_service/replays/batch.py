"""The next events of a replay, read anew just before they are published.

Guarantees: an event whose payload was erased since, or ever, is never sent: of its user the
tombstone goes out alone. Reading takes bounded time however few of the log's events are selected,
for it looks at a stretch of the log, not at all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, uuid5

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Row,
    Select,
    Uuid,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.backlog import COLUMNS, RecordedEvent
from auth_service.outbox.table import outbox_events
from auth_service.replays.model import Replay, Selection, confirmed_prefix
from auth_service.replays.selection_sql import LAST, of_users, recorded, stands
from auth_service.users.table import to_user, users
from contracts.events import UserDeleted, UserTombstone, UserUpdated
from contracts.events.envelope import StoredEvent

STRETCH: Final = 50_000
"""Positions that one statement looks at: some 50 ms if none of them is selected."""

_BEFORE_ALL: Final = UUID(int=0)
_NAMES: Final = [column.name for column in COLUMNS]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a replay has come: in the log, or among the users."""

    position: int
    user_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One selected event, how far a replay is after it, and what is sent; None for nothing."""

    done: Checkpoint
    event: StoredEvent | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Steps in their order, from ``begin`` to ``end``; after ``is_last`` nothing follows."""

    begin: Checkpoint
    steps: Sequence[Step]
    end: Checkpoint
    is_last: bool

    @property
    def events(self) -> list[StoredEvent]:
        """What is sent."""
        return [step.event for step in self.steps if step.event is not None]

    def after(self, confirmed: Sequence[bool]) -> "Progress":
        """How far the replay is once the broker has answered.

        Parameters:
            confirmed: whether it confirmed each event; those that were not tried are missing.
        """
        published = confirmed_prefix(confirmed)
        if published == len(self.events):
            return Progress(self.end, published, self.is_last)
        refused = self.events[published]
        done = self.begin
        for step in self.steps:
            if step.event is refused:
                break
            done = step.done
        return Progress(done, published, False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is, how many events were confirmed on the way, and whether it is done."""

    done: Checkpoint
    published: int
    is_done: bool


async def next_batch(connection: AsyncConnection, replay: Replay, limit: int) -> Batch:
    """What follows on what ``replay`` has done, at most ``limit`` events."""
    if replay.selection.current_state:
        return await _users(connection, replay, limit)
    return await _events(connection, replay, limit)


async def _events(connection: AsyncConnection, replay: Replay, limit: int) -> Batch:
    begin = Checkpoint(replay.done_position)
    stretch_end = min(begin.position + STRETCH, replay.last_position)
    values = {
        "after": begin.position,
        "stretch_end": stretch_end,
        LAST.key: replay.last_position,
        "limit": limit,
    }
    found = await connection.execute(_recorded_after(replay.selection), values)
    read = [(RecordedEvent(**dict(zip(_NAMES, row[1:], strict=True))), row.stands) for row in found]
    erased = [event.user_id for event, stands_for_him in read if event.is_erased and stands_for_him]
    tombstones = await _tombstones(connection, erased) if erased else {}
    steps = [
        Step(
            Checkpoint(event.position),
            (tombstones.get(event.user_id) if stands_for_him else None)
            if event.is_erased
            else event,
        )
        for event, stands_for_him in read
    ]
    if len(steps) == limit:
        end = steps[-1].done.position
    else:
        following = await connection.scalar(_FOLLOWING, {"after": stretch_end})
        end = min(replay.last_position, following - 1 if following else replay.last_position)
    return Batch(begin, steps, Checkpoint(end), is_last=end >= replay.last_position)


async def _users(connection: AsyncConnection, replay: Replay, limit: int) -> Batch:
    values = {"after": replay.done_user_id or _BEFORE_ALL, "limit": limit}
    rows = list(await connection.execute(_users_after(replay.selection), values))
    begin = Checkpoint(replay.done_position, replay.done_user_id)
    steps = [Step(Checkpoint(begin.position, row.id), _state(row)) for row in rows]
    end = steps[-1].done if steps else begin
    return Batch(begin, steps, end, is_last=len(rows) < limit)


# Built once for each replay that is under way: building it costs more than running it.
@lru_cache(maxsize=8)
def _recorded_after(selection: Selection) -> Select[Any]:
    position = outbox_events.c.position
    return (
        select(stands(selection).label("stands"), *COLUMNS)
        .where(
            recorded(selection),
            position > bindparam("after", type_=BigInteger),
            position <= bindparam("stretch_end", type_=BigInteger),
        )
        .order_by(position)
        .limit(bindparam("limit"))
    )


@lru_cache(maxsize=8)
def _users_after(selection: Selection) -> Select[Any]:
    return (
        select(users, func.statement_timestamp().label("read_at"))
        .where(of_users(selection), users.c.id > bindparam("after", type_=Uuid))
        .order_by(users.c.id)
        .limit(bindparam("limit"))
    )


# Where the log goes on: after a restore its positions jump.
_FOLLOWING = select(func.min(outbox_events.c.position)).where(
    outbox_events.c.position > bindparam("after", type_=BigInteger)
)

_TOMBSTONES = select(users, func.statement_timestamp().label("read_at")).where(
    users.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))), users.c.deleted_at.is_not(None)
)


async def _tombstones(
    connection: AsyncConnection, ids: list[UUID | None]
) -> dict[UUID | None, StoredEvent]:
    rows = await connection.execute(_TOMBSTONES, {"ids": ids})
    return {row.id: _state(row) for row in rows}


def _state(row: Row[Any]) -> StoredEvent:
    data = (
        to_user(row).state()
        if row.deleted_at is None
        else UserTombstone(id=row.id, version=row.version, deleted_at=row.deleted_at)
    )
    return StoredEvent(
        # The same state has the same id however often it is sent.
        event_id=uuid5(row.id, str(row.version)),
        type=UserUpdated.type if row.deleted_at is None else UserDeleted.type,
        user_id=row.id,
        version=row.version,
        occurred_at=row.deleted_at or row.read_at,
        payload=data.model_dump_json(),
    )
