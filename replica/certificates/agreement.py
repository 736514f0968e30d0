"""Agreement: the share of a stretch of time in which the replica was proved equal. Pure.

Between two certificates that are no more than two minutes apart, and no comparison found a
difference, the replica counts as equal; the source adds up such time in the certificates
themselves. All other time counts as not proved: while the replica or the source was down, differed,
or nobody asked. It starts with the first certificate that is stored.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from contracts.sync.certificate import COVERED_SECONDS_MAX, MICROSECOND

WINDOWS: Final[Mapping[str, timedelta]] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "month": timedelta(days=30),
}
"""The stretches of time, up to now, that status, console and metrics show."""

_LENGTHS: Final = {"hour": "hour", "day": "day", "month": "30 days"}

DECIMALS_MAX: Final = 6
"""Of a percentage: a microsecond of an hour has more, but nobody reads them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a certificate says about time; without ``counts`` it proves nothing.

    ``proved_microseconds`` is the sum since the first certificate of its chain.
    """

    number: int
    time: datetime
    proved_microseconds: int
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Agreement:
    """The share of the time from ``since`` to ``until`` in which the replica was proved equal."""

    ratio: float
    since: datetime
    until: datetime

    @property
    def percent(self) -> str:
        """The ratio in percent; it never shows more than was proved."""
        decimals = min(DECIMALS_MAX, max(2, (self.nines or 0) + 1))
        scale = 10**decimals
        digits = f"{math.floor(round(self.ratio * 100 * scale, 6)) / scale:.{decimals}f}"
        return f"{digits.rstrip('0').rstrip('.')} %"

    @property
    def nines(self) -> int | None:
        """How many nines the ratio begins with; None if all of the time was proved."""
        if self.ratio >= 1:
            return None
        # 1 - 0.999 is a little more than 0.001.
        return math.floor(-math.log10(max(1e-12, round(1 - self.ratio, 12))))

    @property
    def text(self) -> str:
        """Percent and nines."""
        several = "" if self.nines is None or self.nines < 2 else f" ({self.nines} nines)"
        return f"{self.percent}{several}"


def agreement(marks: Sequence[Mark], since: datetime, until: datetime) -> Agreement | None:
    """Compute the agreement; None if less than two certificates say anything about it.

    The time since the last certificate is left out while the next one may still cover it.

    Parameters:
        marks: of one replica's certificates, in the order in which they were issued.
        since: the beginning; an earlier one than the first certificate's is moved to that.
        until: the end.
    """
    if not marks:
        return None
    last = max(mark.time for mark in marks)
    if until - last <= timedelta(seconds=COVERED_SECONDS_MAX):
        until = min(until, last)
    begin = max(since, marks[0].time)
    if until <= begin:
        return None
    proved, counted_to = timedelta(), begin
    for one, other in pairwise(marks):
        # After a clock was set back, the same time comes twice and counts once.
        overlap = min(other.time, until) - max(one.time, counted_to)
        if overlap > timedelta():
            unproved = other.time - one.time - _proved(one, other)
            proved += max(timedelta(), overlap - unproved)
        counted_to = max(counted_to, other.time)
    return Agreement(min(1.0, proved / (until - begin)), begin, until)


def _proved(one: Mark, other: Mark) -> timedelta:
    """For how long the replica was proved equal between two certificates."""
    if other.number <= one.number or not (one.counts and other.counts):
        return timedelta()
    return max(0, other.proved_microseconds - one.proved_microseconds) * MICROSECOND


def windows(marks: Sequence[Mark], now: datetime) -> dict[str, Agreement | None]:
    """Compute the agreement of each window up to ``now``."""
    return {name: agreement(marks, now - length, now) for name, length in WINDOWS.items()}


def summary(marks: Sequence[Mark], now: datetime) -> dict[str, Any]:
    """The figures of the status; parameters as of ``windows``."""
    found = windows(marks, now)
    known = {name: each for name, each in found.items() if each is not None}
    each = (f"{each.text} of the last {_LENGTHS[name]}" for name, each in known.items())
    return {
        "text": f"agreement: {', '.join(each) or 'not known yet'}",
        **{name: None if each is None else figures(each) for name, each in found.items()},
        "certified_at": marks[-1].time if marks else None,
    }


def figures(found: Agreement) -> dict[str, Any]:
    """An agreement for scripts."""
    return {
        "ratio": found.ratio,
        "percent": found.percent,
        "nines": found.nines,
        "since": found.since,
        "until": found.until,
    }
