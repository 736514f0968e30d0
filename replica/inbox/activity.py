"""What a consumer is at, and what it has done since somebody looked last."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

HEARTBEAT_SECONDS_MAX: Final = 45.0
"""Three heartbeats as the relay sends them by default; one may be late, three are not."""


class State(StrEnum):
    """What a consumer is at."""

    CONSUMING = "consuming"
    WAITING = "waiting"
    """The broker, the source or the database is away: it tries again by itself."""

    STOPPED = "stopped"
    """Too many messages were parked in a row: it goes on when it is started again."""


@dataclass(slots=True)
class Activity:
    """One consumer's activity.

    ``applied`` counts messages of all lanes that were applied, whatever that changed;
    ``latency_seconds`` is the worst one of a live event, from its record at the source to the
    commit here; None when there was none. Heartbeats count: they come when nothing else does.
    ``waiting_keys`` tells whose messages wait by themselves (``waiting``). ``consuming_since`` and
    ``busy_since``, of each lane that has a batch in work, are seconds of ``time.monotonic``.
    """

    state: State = State.WAITING
    applied: int = 0
    latency_seconds: float | None = None
    waiting_keys: set[str] = field(default_factory=set)
    consuming_since: float = 0.0
    busy_since: dict[str, float] = field(default_factory=dict)

    def enter(self, state: State) -> None:
        """Note what the consumer is at now."""
        if state is State.CONSUMING:
            self.consuming_since = time.monotonic()
        self.state = state

    @contextmanager
    def busy(self, lane: str) -> Iterator[None]:
        """Note that a batch of ``lane`` is in work inside the block."""
        self.busy_since[lane] = time.monotonic()
        try:
            yield
        finally:
            del self.busy_since[lane]

    def note_latency(self, seconds: float) -> None:
        """Keep the worst; two machines' clocks may make it a little less than nothing."""
        self.latency_seconds = max(seconds, self.latency_seconds or 0.0)

    def take(self) -> "Activity":
        """What was done since this was asked last; counting begins anew."""
        taken = Activity(self.state, self.applied, self.latency_seconds)
        self.applied, self.latency_seconds = 0, None
        return taken

    def put_back(self, taken: "Activity") -> None:
        """Count what was taken once more: it could not be written down."""
        self.applied += taken.applied
        if taken.latency_seconds is not None:
            self.note_latency(taken.latency_seconds)
