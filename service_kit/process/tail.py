"""What a live tail shows of events, and how much at most. Pure.

A line of a tail says what happened to one event: it was recorded or published (at the source),
applied or parked (at a replica). It has ids, a type and times, and nothing of the event's content.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

LOOK_EVERY_SECONDS: Final = 0.5
"""How often to read. People watch: sooner would show no more, and cost more."""

GAP_SECONDS: Final = 5.0
"""How long a missing position is looked for: its transaction is still running, or was rolled back.
No request's transaction lasts as long."""

GAPS_MAX: Final = 1_000
"""Missing positions that are looked for at once; the highest ones count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What happened to one event at ``at``.

    ``stage`` says what: ``recorded``, ``published``, or the outcome at a replica. What cannot be
    known of a message is None: of one that cannot be read, or of an event about no user. ``lane``
    is how a replica received it.
    """

    at: datetime
    stage: str
    type: str | None
    user_id: UUID | None
    version: int | None
    event_id: UUID | None
    recorded_at: datetime | None
    lane: str | None = None

    @property
    def lag_seconds(self) -> float | None:
        """From the record at the source; two machines' clocks may make it slightly negative."""
        return None if self.recorded_at is None else (self.at - self.recorded_at).total_seconds()

    @property
    def key(self) -> tuple[str, UUID | None, datetime]:
        """What a line has in common with its repetition."""
        return self.stage, self.event_id, self.at


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that were read together, in order.

    ``mark`` is where to continue after them. ``left_out`` counts events that were not read, because
    there were too many.
    """

    lines: Sequence[Line]
    mark: str
    left_out: int = 0


class Reader(Protocol):
    """Reads what has happened since it was started, or since it has read last."""

    async def read(self) -> Batch:
        """Read further lines; an empty batch if there are none.

        Raises:
            Exception: the driver's errors.
        """


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines to show: those of some types, of one user, or all."""

    types: Collection[str] = ()
    user_id: UUID | None = None

    def of(self, lines: Iterable[Line]) -> list[Line]:
        """Those of ``lines`` that are wanted."""
        return [
            line
            for line in lines
            if (not self.types or line.type in self.types)
            and (self.user_id is None or line.user_id == self.user_id)
        ]


class Pace:
    """Allows so many lines a second, and up to twice as many at once."""

    def __init__(self, per_second: int, now: float) -> None:
        """Times are in seconds, of any clock that the caller reads."""
        self._per_second = per_second
        self._allowed = 2.0 * per_second
        self._at = now

    def take(self, wanted: int, now: float) -> int:
        """Return how many of ``wanted`` lines may be shown now."""
        grown = self._allowed + (now - self._at) * self._per_second
        self._allowed, self._at = min(2.0 * self._per_second, grown), now
        taken = min(wanted, int(self._allowed))
        self._allowed -= taken
        return taken


@dataclass(slots=True)
class Positions:
    """The positions of a table that were read, although they are committed out of order.

    ``high`` is the highest of them. ``gaps`` are lower ones that are still looked for, each with
    the time when it is given up (in seconds, of any clock).
    """

    high: int
    gaps: dict[int, float] = field(default_factory=dict)

    @property
    def low(self) -> int:
        """All positions up to this one were read, or were given up."""
        return min(self.gaps) - 1 if self.gaps else self.high

    def note(self, found: Iterable[int], now: float) -> None:
        """Note positions that were read, and give up those that were looked for long enough."""
        for position in sorted(found):
            if position <= self.high:
                self.gaps.pop(position, None)
                continue
            missing = range(max(self.high + 1, position - GAPS_MAX), position)
            self.gaps.update(dict.fromkeys(missing, now + GAP_SECONDS))
            self.high = position
        kept = sorted(self.gaps)[-GAPS_MAX:]
        self.gaps = {each: self.gaps[each] for each in kept if self.gaps[each] > now}
