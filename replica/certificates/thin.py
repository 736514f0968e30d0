"""Which certificates of a chain are deleted with age. Pure.

Guarantees: of what is left, each names the one before it: directly, or as the last of the hour or
day before. The last certificate is never deleted. Thinning twice, or late, leaves the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from contracts.sync.certificate import FULL, HOURLY, day_of, hour_of

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)

BEFORE_ALL: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A time before that of any certificate."""


@dataclass(frozen=True, slots=True)
class Place:
    """A certificate's place: its row's id, its number in the chain, and its time."""

    id: int
    number: int
    time: datetime


def hour_is_thinned(time: datetime, newest: datetime) -> bool:
    """Whether one certificate is enough for the hour of ``time``."""
    return hour_of(time) + _HOUR <= newest - FULL


def day_is_thinned(time: datetime, newest: datetime) -> bool:
    """Whether one certificate is enough for the day of ``time``."""
    return day_of(time) + _DAY <= newest - HOURLY


def superfluous(places: Sequence[Place]) -> list[int]:
    """Return the ids of those to delete, of certificates in the order in which they were stored.

    A certificate is the last of its hour if the next one has another hour, earlier or later: clocks
    are set back. It is the last of its chain if the next one is number 1.
    """
    newest = max((place.time for place in places), default=BEFORE_ALL)
    return [
        place.id
        for place, following in pairwise(places)
        if following.number != 1 and _is_superfluous(place.time, following.time, newest)
    ]


def _is_superfluous(time: datetime, following: datetime, newest: datetime) -> bool:
    is_same_hour = hour_of(time) == hour_of(following)
    is_same_day = day_of(time) == day_of(following)
    return (is_same_hour and hour_is_thinned(time, newest)) or (
        is_same_day and day_is_thinned(time, newest)
    )
