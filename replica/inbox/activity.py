"""What a consumer is doing, and what it has done since the last sample."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

HEARTBEAT_SECONDS_MAX: Final = 45.0
"""Three of the relay's default intervals: one heartbeat may be late, not three."""


class State(StrEnum):
    """The state of a consumer."""

    CONSUMING = "consuming"
    WAITING = "waiting"
    """The broker, the source or the database is away; the consumer retries."""

    STOPPED = "stopped"
    """Too many messages were parked in a row; the consumer continues after a restart."""


@dataclass(slots=True)
class Activity:
    """The state and counters of one consumer.

    ``applied`` counts applied messages of all lanes, including those that changed nothing.
    ``latency_seconds`` is the worst latency of a live event, from its record at the source to the
    commit here; None without events. Heartbeats count, because they arrive even without changes.
    ``waiting_keys`` are the keys of messages that were set aside (``waiting``). ``consuming_since``
    and ``busy_since``, the start of each lane's current batch, are seconds of ``time.monotonic``.
    """

    state: State = State.WAITING
    applied: int = 0
    latency_seconds: float | None = None
    waiting_keys: set[str] = field(default_factory=set)
    consuming_since: float = 0.0
    busy_since: dict[str, float] = field(default_factory=dict)

    def enter(self, state: State) -> None:
        """Set the state."""
        if state is State.CONSUMING:
            self.consuming_since = time.monotonic()
        self.state = state

    @contextmanager
    def busy(self, lane: str) -> Iterator[None]:
        """Record that ``lane`` is working on a batch inside the block."""
        self.busy_since[lane] = time.monotonic()
        try:
            yield
        finally:
            del self.busy_since[lane]

    def note_latency(self, seconds: float) -> None:
        """Keep the worst latency; two machines' clocks may make it slightly negative."""
        self.latency_seconds = max(seconds, self.latency_seconds or 0.0)

    def take_counts(self) -> "Activity":
        """Return the counts since the last call, and reset them."""
        taken = Activity(self.state, self.applied, self.latency_seconds)
        self.applied, self.latency_seconds = 0, None
        return taken

    def restore_counts(self, taken: "Activity") -> None:
        """Add counts back that could not be stored."""
        self.applied += taken.applied
        if taken.latency_seconds is not None:
            self.note_latency(taken.latency_seconds)
