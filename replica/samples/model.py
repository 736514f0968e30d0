"""How samples are spaced, and what it means when there is none. Pure."""

import math
from dataclasses import dataclass
from typing import Final

EVERY_SECONDS: Final = 5.0
"""A trouble shows in the next sample; a day of them is 17,280 small rows for each consumer."""

KEPT_HOURS: Final = 24
"""What somebody who is woken wants to look back on; dashboards keep more."""

SILENT_SECONDS: Final = 20.0
"""Without a sample for so long a consumer counts as gone: one may be late, three are not."""

LAG_SECONDS: Final = 60.0
"""How far back the lag of now looks: four heartbeats, each of which tells it when nothing else
does."""

POINTS_MAX: Final = 720
"""Of a series: as many as a chart has room for."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What is heard of consumers, and what they see of the queues; the ages are in seconds.

    ``consumers`` were heard of a moment ago, of whom so many are ``stopped``; the depths are None
    when the broker does not answer them. ``age_seconds`` is None when there never was a sample.
    ``lag_seconds`` is the worst of the last minute; None when nothing arrived in it.
    """

    consumers: int
    stopped: int
    age_seconds: float | None
    lag_seconds: float | None
    queue_depth: int | None
    replay_queue_depth: int | None
    dead_queue_depth: int | None


def bucket_seconds(minutes: int) -> int:
    """How long a bucket of a series is, so that there are not too many, nor any empty by chance."""
    return max(math.ceil(2 * EVERY_SECONDS), math.ceil(minutes * 60 / POINTS_MAX))
