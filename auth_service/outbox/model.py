"""Judge the outbox's figures, schedule retries of unroutable types, parse durations. Pure."""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from service_kit.process.backoff import backoff_seconds
from service_kit.process.times import time_text

HEARTBEATS_MISSED_MAX: Final = 3
"""One heartbeat may be late after a pause of the machine or the database; three are a fault."""

BEHIND_SECONDS: Final = 5.0
"""An event is published within milliseconds; an older one is blocked by something."""

PROBES_MAX: Final = 10
"""Types that are retried in one round: garbage may have any number of types."""

_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}
_LENGTH: Final = re.compile(r"([1-9][0-9]{0,5})([dhm])", re.ASCII)


class Unroutable:
    """Event types that no queue accepts, and when to retry each.

    Whether a queue accepts an event depends on its type alone, so one event per type is enough to
    find out. Times are in seconds, of any clock that the caller reads.
    """

    def __init__(self, *, longest: float) -> None:
        """``longest``: the longest pause between two retries, in seconds."""
        self._longest = longest
        self._tries: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def __contains__(self, event_type: object) -> bool:
        return event_type in self._due

    def __len__(self) -> int:
        return len(self._due)

    @property
    def since(self) -> float:
        """When the oldest type in the list was first returned; infinite when the list is empty."""
        return min(self._since.values(), default=math.inf)

    @property
    def next_due(self) -> float:
        """When to retry the next type; infinite when the list is empty."""
        return min(self._due.values(), default=math.inf)

    def due(self, now: float) -> list[str]:
        """Return the types to retry now, longest overdue first, at most ``PROBES_MAX``."""
        overdue = [each for each, due in self._due.items() if due <= now]
        return sorted(overdue, key=self._due.__getitem__)[:PROBES_MAX]

    def adopt(self, event_types: Iterable[str], now: float) -> None:
        """Add the types that an earlier relay found; each is due at once."""
        for event_type in event_types:
            self._due.setdefault(event_type, now)
            self._since.setdefault(event_type, now)

    def postpone(self, event_type: str, now: float) -> None:
        """Schedule the next retry of a returned type; the pause grows with each failure."""
        self._tries[event_type] = self._tries.get(event_type, 0) + 1
        pause = backoff_seconds(self._tries[event_type], longest=self._longest)
        self._due[event_type] = now + pause
        self._since.setdefault(event_type, now)

    def remove(self, event_type: str) -> None:
        """Remove a type: a queue accepts it again, or no event of it is left."""
        for notes in (self._tries, self._due, self._since):
            notes.pop(event_type, None)


class InvalidDuration(ValueError):
    """The text is not a duration."""


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as ``30d``, ``12h`` or ``90m``; the smallest is one minute.

    Raises:
        InvalidDuration: the text has another form.
    """
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise InvalidDuration(
            "is not a valid duration: use days, hours or minutes, such as 30d, 12h or 90m"
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def pipe_status(
    *,
    is_led: bool,
    trouble: str | None,
    unpublished: int,
    oldest_age_seconds: float,
    heartbeat_age_seconds: float | None,
    heartbeat_seconds: float,
    now: datetime,
    set_aside: Sequence[str] = (),
    held_rows: int = 0,
    is_source_held: bool = False,
) -> str:
    """Describe the state of the outbox and its relay in one line; the worst problem wins.

    Parameters:
        is_led: whether a relay is active.
        trouble: why the active relay cannot publish; None while it can.
        unpublished: the number of unpublished events.
        oldest_age_seconds: the age of the oldest of them.
        heartbeat_age_seconds: since the last heartbeat was recorded; None before the first.
        heartbeat_seconds: how often a heartbeat is due.
        now: when the figures were read.
        set_aside: a description of each event type that is set aside.
        held_rows: the number of rows that other sessions have locked against the relay.
        is_source_held: whether the row of ``source`` is one of them.
    """
    if not is_led:
        return "broken: no relay is active"
    if trouble is not None:
        return f"broken: {trouble}"
    if heartbeat_age_seconds is None:
        return "broken: no heartbeat yet"
    if heartbeat_age_seconds > HEARTBEATS_MISSED_MAX * heartbeat_seconds:
        held = ": another session has locked the row of source" if is_source_held else ""
        return f"broken: no heartbeat for {heartbeat_age_seconds:.0f} s{held}"
    if set_aside:
        return f"behind: events wait for a queue: {'; '.join(set_aside)}"
    if is_source_held:
        return "behind: another session has locked the row of source: no heartbeat can be recorded"
    if held_rows:
        return f"behind: another session has locked {held_rows:,} rows that wait to be marked"
    if unpublished and oldest_age_seconds > BEHIND_SECONDS:
        since = time_text(now - timedelta(seconds=oldest_age_seconds))
        return f"behind: {unpublished:,} events wait since {since}"
    return "publishing" if unpublished else "quiet"
