"""Read the next events of a replay, just before they are published.

Guarantees: an event whose payload has been erased is never sent; of its user only the tombstone is
sent. A read takes bounded time however few events are selected, because it covers a stretch of the
log and not all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, uuid5

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Select,
    Uuid,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.backlog import COLUMNS, recorded_event
from auth_service.outbox.table import outbox_events
from auth_service.replays.model import Replay, Selection, confirmed_prefix
from auth_service.replays.selection_sql import LAST, is_sent, of_users, recorded
from auth_service.users.table import users
from contracts.events import UserDeleted, UserState, UserTombstone, UserUpdated
from contracts.events.envelope import StoredEvent

STRETCH: Final = 50_000
"""Positions that one statement reads: about 50 ms if none of them is selected."""

_BEFORE_ALL: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last position in the log, or the last user, that a replay has sent."""

    position: int
    user_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One selected event: the checkpoint after it, and what is sent (None for nothing)."""

    checkpoint: Checkpoint
    event: StoredEvent | None


@dataclass(frozen=True, slots=True)
class Batch:
    """The steps from ``begin`` to ``end``, in order; ``is_last`` if nothing follows."""

    begin: Checkpoint
    steps: Sequence[Step]
    end: Checkpoint
    is_last: bool

    @property
    def events(self) -> list[StoredEvent]:
        """The events to send."""
        return [step.event for step in self.steps if step.event is not None]

    def after(self, confirmed: Sequence[bool]) -> "Progress":
        """Return the progress of the replay after the batch was published.

        Parameters:
            confirmed: whether the broker confirmed each event; shorter if the rest was not tried.
        """
        published = confirmed_prefix(confirmed)
        if published == len(self.events):
            return Progress(self.end, published, self.is_last)
        refused = self.events[published]
        checkpoint = self.begin
        for step in self.steps:
            if step.event is refused:
                break
            checkpoint = step.checkpoint
        return Progress(checkpoint, published, False)


@dataclass(frozen=True, slots=True)
class Progress:
    """The new checkpoint, how many events were confirmed since, and whether the replay is done."""

    checkpoint: Checkpoint
    published: int
    is_done: bool


async def next_batch(connection: AsyncConnection, replay: Replay, limit: int) -> Batch:
    """Read what follows the checkpoint of ``replay``, at most ``limit`` events."""
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
    read = [(recorded_event(*columns), is_sent) for is_sent, *columns in found]
    erased = [event.user_id for event, is_sent in read if event.is_erased and is_sent]
    tombstones = await _tombstones(connection, erased) if erased else {}
    steps = [
        Step(
            Checkpoint(event.position),
            (tombstones.get(event.user_id) if is_sent else None) if event.is_erased else event,
        )
        for event, is_sent in read
    ]
    if len(steps) == limit:
        end = steps[-1].checkpoint.position
    else:
        following = await connection.scalar(_FOLLOWING, {"after": stretch_end})
        end = min(replay.last_position, following - 1 if following else replay.last_position)
    return Batch(begin, steps, Checkpoint(end), is_last=end >= replay.last_position)


async def _users(connection: AsyncConnection, replay: Replay, limit: int) -> Batch:
    values = {"after": replay.done_user_id or _BEFORE_ALL, "limit": limit}
    rows = list(await connection.execute(_users_after(replay.selection), values))
    begin = Checkpoint(replay.done_position, replay.done_user_id)
    steps = [Step(Checkpoint(begin.position, row.id), _state(row)) for row in rows]
    end = steps[-1].checkpoint if steps else begin
    return Batch(begin, steps, end, is_last=len(rows) < limit)


_STATE_COLUMNS = [*(users.c[name] for name in UserState.model_fields), users.c.deleted_at]
"""The relay's role may read no others of these rows, such as passwords."""


# Cached per replay: building the statement costs more than running it.
@lru_cache(maxsize=8)
def _recorded_after(selection: Selection) -> Select[Any]:
    position = outbox_events.c.position
    return (
        select(is_sent(selection).label("is_sent"), *COLUMNS)
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
        select(*_STATE_COLUMNS, func.statement_timestamp().label("read_at"))
        .where(of_users(selection), users.c.id > bindparam("after", type_=Uuid))
        .order_by(users.c.id)
        .limit(bindparam("limit"))
    )


# The next event after a gap, such as the one that a restore leaves.
_FOLLOWING = select(func.min(outbox_events.c.position)).where(
    outbox_events.c.position > bindparam("after", type_=BigInteger)
)

_TOMBSTONES = select(*_STATE_COLUMNS, func.statement_timestamp().label("read_at")).where(
    users.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))), users.c.deleted_at.is_not(None)
)


async def _tombstones(
    connection: AsyncConnection, ids: list[UUID | None]
) -> dict[UUID | None, StoredEvent]:
    rows = await connection.execute(_TOMBSTONES, {"ids": ids})
    return {row.id: _state(row) for row in rows.all()}


def _state(row: Any) -> StoredEvent:
    data = (
        UserState(
            **{name: getattr(row, name) for name in UserState.model_fields if name != "roles"},
            roles=tuple(row.roles),
        )
        if row.deleted_at is None
        else UserTombstone(id=row.id, version=row.version, deleted_at=row.deleted_at)
    )
    return StoredEvent(
        # The same state has the same event id however often it is sent.
        event_id=uuid5(row.id, str(row.version)),
        type=UserUpdated.type if row.deleted_at is None else UserDeleted.type,
        user_id=row.id,
        version=row.version,
        occurred_at=row.deleted_at or row.read_at,
        payload=data.model_dump_json(),
    )
