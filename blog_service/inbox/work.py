"""What a consumer is at, and what it has done since somebody looked last. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a consumer is at."""

    CONSUMING = "consuming"
    WAITING = "waiting"
    """The broker, the source or the database is away: it tries again by itself."""

    STOPPED = "stopped"
    """Too many messages were parked in a row: it goes on when it is started again."""


@dataclass(slots=True)
class Work:
    """One consumer's work.

    ``applied`` counts messages of all lanes that were applied, whatever that changed;
    ``latency_seconds`` is the worst one of a live event, from its record at the source to the
    commit here; None when there was none. Heartbeats count: they come when nothing else does.
    """

    state: State = State.WAITING
    applied: int = 0
    latency_seconds: float | None = None

    def note_latency(self, seconds: float) -> None:
        """Keep the worst; two machines' clocks may make it a little less than nothing."""
        self.latency_seconds = max(seconds, self.latency_seconds or 0.0)

    def take(self) -> "Work":
        """What was done since this was asked last; counting begins anew."""
        taken = Work(self.state, self.applied, self.latency_seconds)
        self.applied, self.latency_seconds = 0, None
        return taken

    def put_back(self, taken: "Work") -> None:
        """Count what was taken once more: it could not be written down."""
        self.applied += taken.applied
        if taken.latency_seconds is not None:
            self.note_latency(taken.latency_seconds)
