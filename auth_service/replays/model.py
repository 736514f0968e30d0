"""What a replay is, which requests are valid, and how its pace is kept. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from contracts.sync.replay_limits import POSITION_MAX, RATE_MAX, TYPES, USERS_MAX
from service_kit.process.errors import OperatorError
from service_kit.process.times import time_text

RATE_DEFAULT: Final = 1_000
"""Events a second. A consumer applies several times as many, so its live events have room. A
million users take about a quarter of an hour."""

CATCH_UP_SECONDS: Final = 0.1
"""How much of a delay to catch up: small delays do not add up, and long ones cause no burst. Also
the duration of one batch, so that events come evenly."""

UNFINISHED_MAX: Final = 100
"""Replays that are running, waiting or paused. They are sent one after the other, and each protects
its events from pruning."""

CONSUMER_LENGTH_MAX: Final = 64
CONSUMER_PATTERN: Final = f"^[a-z][a-z0-9_-]{{0,{CONSUMER_LENGTH_MAX - 1}}}$"
"""The prefix of a consuming service's queues, well below the 255 bytes of a routing key."""

FILTERED_BY_TYPE: Final = (
    "filtered by type: an empty replica ends up with an older state of each user whose newest event"
    " is left out"
)

_CONSUMER = re.compile(CONSUMER_PATTERN, re.ASCII)


class ReplayError(OperatorError):
    """Base of the reasons for refusing a request about replays.

    ReplayError
    ├── InvalidReplay
    ├── LogPruned
    ├── NoSuchConsumer
    ├── NoSuchReplay
    ├── ReplayFinished
    └── TooManyReplays
    """


class InvalidReplay(ReplayError):
    """The request contradicts itself or exceeds a limit."""


class LogPruned(ReplayError):
    """The log no longer goes back so far."""


class NoSuchConsumer(ReplayError):
    """The consumer has no queue for replays."""


class NoSuchReplay(ReplayError):
    """No replay has this id."""


class ReplayFinished(ReplayError):
    """The replay is done or cancelled, which is final."""


class TooManyReplays(ReplayError):
    """The limit of unfinished replays is reached."""


class State(StrEnum):
    """The state of a replay; RUNNING also while it waits for earlier ones."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"

    @property
    def is_final(self) -> bool:
        """Whether the replay stays in this state."""
        return self in (State.CANCELLED, State.DONE)


TargetState = Literal[State.RUNNING, State.PAUSED, State.CANCELLED]
"""The states that an operator may set."""

TARGET_STATES: Final[dict[Literal["running", "paused", "cancelled"], TargetState]] = {
    "running": State.RUNNING,
    "paused": State.PAUSED,
    "cancelled": State.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The selection of a replay: recorded events that meet every condition, or current states.

    ``since`` is inclusive, ``until`` exclusive; ``from_position`` is the first position in the log.
    Empty ``users`` or ``types`` means all.
    """

    current_state: bool = False
    since: datetime | None = None
    until: datetime | None = None
    from_position: int | None = None
    users: tuple[UUID, ...] = ()
    types: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """What the replay may leave behind, for the operator; None if nothing."""
        return FILTERED_BY_TYPE if self.types and set(self.types) != set(TYPES) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a replay would send.

    ``erased_users`` counts users with only a tombstone left to send. ``first_position`` and
    ``last_position`` are the first and last selected events in the log; None if there are none, or
    for the current state.
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
        """The total number of events."""
        return sum(self.by_type.values())

    @property
    def seconds(self) -> float:
        """How long it takes at this rate, once its turn has come."""
        return self.events / self.rate

    @property
    def warning(self) -> str | None:
        """What the replay may leave behind, for the operator; None if nothing."""
        return self.selection.warning


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A requested replay and its progress.

    ``expected`` is the count made before the start, ``published`` the number of confirmed events.
    In the end they are equal, unless users were deleted meanwhile.
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

    def resumed_at(self, position: int, user_id: UUID | None) -> "Replay":
        """Return the replay as it is once everything up to a checkpoint has been published."""
        return replace(self, done_position=position, done_user_id=user_id)

    @property
    def warning(self) -> str | None:
        """What the replay may leave behind, for the operator; None if nothing."""
        return self.selection.warning

    @property
    def seconds_left(self) -> float | None:
        """The seconds left at its rate; None once it is finished."""
        left = max(0, self.expected - self.published) / self.rate
        return None if self.state.is_final else left


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much of the log may be gone: up to ``position``, 0 if it was never pruned.

    ``begins_at`` is the time of the first event after that position; None if there is none.
    """

    position: int
    begins_at: datetime | None


def require_valid(consumer: str, selection: Selection, rate: int) -> None:
    """Refuse a request that contradicts itself or exceeds a limit.

    Raises:
        InvalidReplay: it does; the message names the rule.
    """
    if not _CONSUMER.fullmatch(consumer):
        raise InvalidReplay(
            f"a consumer's name has 1 to {CONSUMER_LENGTH_MAX} characters of a-z, 0-9, '_' and '-',"
            " and begins with a letter"
        )
    if not 1 <= rate <= RATE_MAX:
        raise InvalidReplay(f"the rate must be from 1 to {RATE_MAX:,} events a second")
    if not set(selection.types) <= set(TYPES):
        raise InvalidReplay(f"the types that can be replayed are {', '.join(TYPES)}")
    if len(selection.users) > USERS_MAX:
        raise InvalidReplay(f"one replay names at most {USERS_MAX:,} users; leave them out for all")
    position = selection.from_position
    if position is not None and not 1 <= position <= POSITION_MAX:
        raise InvalidReplay(f"a position in the log is from 1 to {POSITION_MAX}")
    since, until = selection.since, selection.until
    if selection.current_state and (since or until or position or selection.types):
        raise InvalidReplay(
            "the current state can be filtered by user only; time, position and type apply to the"
            " event log"
        )
    if since and until and since >= until:
        raise InvalidReplay("`until` must be later than `since`")


def require_in_log(selection: Selection, pruned: Pruned) -> None:
    """Refuse a replay of recorded events that begins before the oldest event of the log.

    Raises:
        LogPruned: it does; the message names the alternative.
    """
    if selection.current_state or pruned.position == 0:
        return
    position, since = selection.from_position, selection.since
    if position is not None and position > pruned.position:
        return
    if since is not None and pruned.begins_at is not None and since > pruned.begins_at:
        return
    begin = time_text(pruned.begins_at) if pruned.begins_at else "now"
    raise LogPruned(
        f"the log was pruned and begins after position {pruned.position} ({begin}): begin later, or"
        " replay the current state instead (--current-state; over HTTP current_state)"
    )


def is_change(state: State, target: TargetState) -> bool:
    """Return whether ``target`` changes a replay in ``state``.

    Raises:
        ReplayFinished: ``state`` is final and differs from ``target``.
    """
    if state == target:
        return False
    if state.is_final:
        raise ReplayFinished(f"the replay is {state} and stays so; start another")
    return True


def batch_limit(rate: int, batch_size: int) -> int:
    """Return how many events to publish at once, so that they come evenly at ``rate`` a second."""
    return max(1, min(batch_size, int(rate * CATCH_UP_SECONDS)))


class Pace:
    """Keeps the rate of a replay, by a clock that the caller reads (seconds)."""

    def __init__(self) -> None:
        self._due = float("-inf")
        self._of: UUID | None = None

    def due(self, replay: Replay) -> float:
        """Return when the next batch is due; at once if the last batch was another replay's."""
        return self._due if replay.id == self._of else float("-inf")

    def published(self, replay: Replay, events: int, *, began: float) -> None:
        """Note that ``events`` were published from ``began`` on; the next batch is due later."""
        earliest = began - CATCH_UP_SECONDS
        self._due = max(self.due(replay), earliest) + events / replay.rate
        self._of = replay.id


def confirmed_prefix(confirmed: Sequence[bool]) -> int:
    """Return how many events from the start were all confirmed."""
    return next((n for n, is_confirmed in enumerate(confirmed) if not is_confirmed), len(confirmed))
