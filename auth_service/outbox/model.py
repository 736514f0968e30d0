"""What the outbox's figures mean, and how an operator writes a length of time. Pure."""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from contracts.events import rfc3339
from service_kit.process.backoff import pause_seconds

BEATS_MISSED_MAX: Final = 3
"""One may be late, after a pause of the machine or the database; three are not."""

BEHIND_SECONDS: Final = 5.0
"""An event goes out within milliseconds; one that is older waits for something."""

PROBES_MAX: Final = 10
"""Types that are tried again at once: garbage may be of very many."""

_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}
_LENGTH: Final = re.compile(r"([1-9][0-9]{0,5})([dhm])", re.ASCII)


class Unroutable:
    """Types of events that no queue takes, and when each is tried again.

    Whether a queue takes an event depends on its type alone, so that one event of a type is enough
    to find out. Times are of any clock that the caller reads, in seconds.
    """

    def __init__(self, *, longest: float) -> None:
        """``longest``: the longest pause between two tries."""
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
        """When the first of those of now was returned; infinite while there is none."""
        return min(self._since.values(), default=math.inf)

    @property
    def next_due(self) -> float:
        """When one is to be tried again; infinite while there is none."""
        return min(self._due.values(), default=math.inf)

    def due(self, now: float) -> list[str]:
        """What is to be tried again, the longest overdue first; not more than ``PROBES_MAX``."""
        overdue = [each for each, due in self._due.items() if due <= now]
        return sorted(overdue, key=self._due.__getitem__)[:PROBES_MAX]

    def known(self, event_types: Iterable[str], now: float) -> None:
        """Take over what another relay has found; each is tried at once."""
        for event_type in event_types:
            self._due.setdefault(event_type, now)
            self._since.setdefault(event_type, now)

    def returned(self, event_type: str, now: float) -> None:
        """Note that no queue took an event: the more often in a row, the longer it waits."""
        self._tries[event_type] = self._tries.get(event_type, 0) + 1
        pause = pause_seconds(self._tries[event_type], longest=self._longest)
        self._due[event_type] = now + pause
        self._since.setdefault(event_type, now)

    def forget(self, event_type: str) -> None:
        """Note that a queue takes them, or that none is left."""
        for notes in (self._tries, self._due, self._since):
            notes.pop(event_type, None)


class InvalidDuration(ValueError):
    """The text is no length of time."""


def parse_duration(text: str) -> timedelta:
    """What ``30d``, ``12h`` or ``90m`` means; at least a minute.

    Raises:
        InvalidDuration: it is none of these.
    """
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise InvalidDuration(
            "is no length of time: write a number of days, hours or minutes, such as 30d, 12h, 90m"
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def pipe(
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
    """One line that tells quiet from broken: the first of what is the matter, worst first.

    Parameters:
        is_led: whether a relay is active.
        trouble: what the active one meets, if anything.
        unpublished: how many events wait, ...
        oldest_age_seconds: ... and the oldest of them for how long.
        heartbeat_age_seconds: since the last one was recorded; None when there was none.
        heartbeat_seconds: how often one is.
        now: when all this was looked at.
        set_aside: what waits by itself, each type in words.
        held_rows: how many rows the relay cannot change, for another session holds them, ...
        is_source_held: ... and whether that of the heartbeats' numbers is among them.
    """
    if not is_led:
        return "broken: no relay is active"
    if trouble is not None:
        return f"broken: {trouble}"
    if heartbeat_age_seconds is None:
        return "broken: no heartbeat yet"
    if heartbeat_age_seconds > BEATS_MISSED_MAX * heartbeat_seconds:
        held = ": another session holds the row of source" if is_source_held else ""
        return f"broken: no heartbeat for {heartbeat_age_seconds:.0f} s{held}"
    if set_aside:
        return f"behind: events wait for a queue: {'; '.join(set_aside)}"
    if is_source_held:
        return "behind: another session holds the row of source: no heartbeat can be recorded"
    if held_rows:
        return f"behind: another session holds {held_rows:,} rows that wait to be marked"
    if unpublished and oldest_age_seconds > BEHIND_SECONDS:
        since = rfc3339(now - timedelta(seconds=oldest_age_seconds))
        return f"behind: {unpublished:,} events wait since {since}"
    return "publishing" if unpublished else "quiet"
