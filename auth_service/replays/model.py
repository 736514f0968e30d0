"""What a replay is, what can be asked of one, and the ways in which that is refused.

Pure: imports the standard library and ``contracts``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from contracts.events import UserCreated, UserDeleted, UserUpdated
from contracts.sync.replays import POSITION_MAX, RATE_MAX, TYPES, USERS_MAX
from service_kit.process.errors import OperatorError

RATE_DEFAULT: Final = 1_000
"""Events a second. A consumer applies several times as many, and has its live events besides; a
million users still take only a quarter of an hour."""

CATCH_UP_SECONDS: Final = 0.1
"""How much of a delay is made up for, so that small ones do not add up and long ones cause no
burst; also how long one batch should take, so that events come evenly."""

UNFINISHED_MAX: Final = 100
"""Replays that wait, are under way or paused. They go one after the other, and each keeps events
from being pruned."""

CONSUMER_LENGTH_MAX: Final = 64
CONSUMER_PATTERN: Final = f"^[a-z][a-z0-9_-]{{0,{CONSUMER_LENGTH_MAX - 1}}}$"
"""The prefix of a consuming service's queues: a routing key has 255 bytes at most."""

assert set(TYPES) == {UserCreated.type, UserUpdated.type, UserDeleted.type}

FILTERED_BY_TYPE: Final = (
    "filtered by type: where a user's newest event is left out, an empty replica ends up with an"
    " older state of his"
)

_CONSUMER = re.compile(CONSUMER_PATTERN, re.ASCII)


class ReplayError(OperatorError):
    """A use case refused. Subclasses say why.

    ReplayError
    ├── InvalidReplay
    ├── LogPruned
    ├── NoSuchConsumer
    ├── NoSuchReplay
    ├── ReplayFinished
    └── TooManyReplays
    """


class InvalidReplay(ReplayError):
    """What was asked for contradicts itself, or a limit."""


class LogPruned(ReplayError):
    """The log does not go back so far any more."""


class NoSuchConsumer(ReplayError):
    """There is no queue to send to."""


class NoSuchReplay(ReplayError):
    """There is no replay with this id."""


class ReplayFinished(ReplayError):
    """The replay is done or cancelled, and stays so."""


class TooManyReplays(ReplayError):
    """As many as there may be are unfinished."""


class State(StrEnum):
    """Where a replay is; RUNNING also while it waits for the ones before it."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"

    @property
    def is_final(self) -> bool:
        """Whether it stays so."""
        return self in (State.CANCELLED, State.DONE)


TargetState = Literal[State.RUNNING, State.PAUSED, State.CANCELLED]
"""What an operator may turn a replay into."""

TARGET_STATES: Final[dict[Literal["running", "paused", "cancelled"], TargetState]] = {
    "running": State.RUNNING,
    "paused": State.PAUSED,
    "cancelled": State.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a replay sends: recorded events that meet every condition, or users as they are.

    ``since`` is the first instant, ``until`` the first one that is too late; ``from_position`` the
    first position in the log. Of ``users`` and ``types`` none means all.
    """

    current_state: bool = False
    since: datetime | None = None
    until: datetime | None = None
    from_position: int | None = None
    users: tuple[UUID, ...] = ()
    types: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """What whoever asks for it should know."""
        return FILTERED_BY_TYPE if self.types and set(self.types) != set(TYPES) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a replay would send.

    ``erased_users`` are those of whom nothing but a tombstone is left to send. ``first_position``
    and ``last_position`` are the ends of what was found in the log; None when nothing was, or for
    the current state.
    """

    consumer: str
    selection: Selection
    rate: int
    by_type: dict[str, int]
    erased_users: int
    first_position: int | None = None
    last_position: int | None = None

    @property
    def events(self) -> int:
        """How many in all."""
        return sum(self.by_type.values())

    @property
    def seconds(self) -> float:
        """How long it takes at this rate, once its turn has come."""
        return self.events / self.rate

    @property
    def warning(self) -> str | None:
        """What whoever asks for it should know."""
        return self.selection.warning


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replay that was asked for, and how far it has come.

    ``expected`` is what was counted beforehand, ``published`` what the broker confirmed; they end
    up the same unless users were deleted meanwhile.
    """

    id: UUID
    consumer: str
    selection: Selection
    rate: int
    state: State
    requested_by: str
    expected: int
    published: int
    trouble: str | None
    last_position: int
    done_position: int
    done_user_id: UUID | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime | None
    finished_at: datetime | None

    @property
    def warning(self) -> str | None:
        """What whoever looks at it should know."""
        return self.selection.warning

    @property
    def seconds_left(self) -> float | None:
        """How long it takes from here at its rate; None once it is finished."""
        left = max(0, self.expected - self.published) / self.rate
        return None if self.state.is_final else left


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much of the log may be gone: up to ``position``, 0 when it never was pruned.

    ``begins_at`` is when the first event after that was recorded; None when there is none.
    """

    position: int
    begins_at: datetime | None


def require_valid(consumer: str, selection: Selection, rate: int) -> None:
    """Refuse what contradicts itself; raises ``InvalidReplay``."""
    if not _CONSUMER.fullmatch(consumer):
        raise InvalidReplay(
            f"a consumer's name has 1 to {CONSUMER_LENGTH_MAX} of a-z, 0-9, '_' and '-', and begins"
            " with a letter"
        )
    if not 1 <= rate <= RATE_MAX:
        raise InvalidReplay(f"the rate is a number of events a second, 1 to {RATE_MAX:,}")
    if not set(selection.types) <= set(TYPES):
        raise InvalidReplay(f"the types that can be replayed are {', '.join(TYPES)}")
    if len(selection.users) > USERS_MAX:
        raise InvalidReplay(f"one replay names at most {USERS_MAX:,} users; leave them out for all")
    position = selection.from_position
    if position is not None and not 1 <= position <= POSITION_MAX:
        raise InvalidReplay("positions in the log begin with 1")
    since, until = selection.since, selection.until
    if selection.current_state and (since or until or position or selection.types):
        raise InvalidReplay(
            "the current state can be narrowed to users, not by time, position or type: it is no"
            " history"
        )
    if since and until and since >= until:
        raise InvalidReplay("nothing is both since and until these times; `until` has to be later")


def require_in_log(selection: Selection, pruned: Pruned) -> None:
    """Refuse a replay of recorded events that begins before what the log still holds.

    Raises:
        LogPruned: it does, and the message names the way out.
    """
    if selection.current_state or pruned.position == 0:
        return
    position, since = selection.from_position, selection.since
    if position is not None and position > pruned.position:
        return
    if since is not None and pruned.begins_at is not None and since > pruned.begins_at:
        return
    begin = f"{pruned.begins_at:%FT%TZ}" if pruned.begins_at else "now"
    raise LogPruned(
        f"the log was pruned and begins after position {pruned.position} ({begin}): begin later, or"
        " replay the current state instead (--current-state; over HTTP current_state)"
    )


def is_change(state: State, target: TargetState) -> bool:
    """Whether ``target`` changes anything about a replay in ``state``.

    Raises:
        ReplayFinished: it is done or cancelled, and not what is wished for.
    """
    if state == target:
        return False
    if state.is_final:
        raise ReplayFinished(f"the replay is {state} and stays so; start another")
    return True


def batch_limit(rate: int, batch_size: int) -> int:
    """How many events to publish at once, so that they come evenly at ``rate`` a second."""
    return max(1, min(batch_size, int(rate * CATCH_UP_SECONDS)))


class Pace:
    """When the next events of a replay are due, by a clock that the caller reads (seconds)."""

    def __init__(self) -> None:
        self._due = float("-inf")
        self._of: UUID | None = None

    def due(self, replay: Replay) -> float:
        """When the next batch may go out; at once for a replay that was not the last one."""
        return self._due if replay.id == self._of else float("-inf")

    def published(self, replay: Replay, events: int, *, began: float) -> None:
        """So many went out, beginning at ``began``: the next may follow when they are worth it."""
        earliest = began - CATCH_UP_SECONDS
        self._due = max(self.due(replay), earliest) + events / replay.rate
        self._of = replay.id


def confirmed_prefix(confirmed: Sequence[bool]) -> int:
    """How many of the first were all confirmed: further on one would be missing."""
    return next((n for n, is_confirmed in enumerate(confirmed) if not is_confirmed), len(confirmed))
