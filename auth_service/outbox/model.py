"""What the outbox's figures mean, and how an operator writes a length of time. Pure."""

import re
from datetime import datetime, timedelta
from typing import Final

from contracts.events import rfc3339

BEATS_MISSED_MAX: Final = 3
"""One may be late, after a pause of the machine or the database; three are not."""

BEHIND_SECONDS: Final = 5.0
"""An event goes out within milliseconds; one that is older waits for something."""

_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}
_LENGTH: Final = re.compile(r"([1-9][0-9]{0,5})([dhm])", re.ASCII)


class BadLength(ValueError):
    """The text is no length of time."""


def length_of_time(text: str) -> timedelta:
    """What ``30d``, ``12h`` or ``90m`` means; at least a minute.

    Raises:
        BadLength: it is none of these.
    """
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise BadLength(
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
    """
    if not is_led:
        return "broken: no relay is active"
    if trouble is not None:
        return f"broken: {trouble}"
    if heartbeat_age_seconds is None:
        return "broken: no heartbeat yet"
    if heartbeat_age_seconds > BEATS_MISSED_MAX * heartbeat_seconds:
        return f"broken: no heartbeat for {heartbeat_age_seconds:.0f} s"
    if unpublished and oldest_age_seconds > BEHIND_SECONDS:
        since = rfc3339(now - timedelta(seconds=oldest_age_seconds))
        return f"behind: {unpublished:,} events wait since {since}"
    return "publishing" if unpublished else "quiet"
