"""The interval and retention of samples, and what a missing sample means. Pure."""

import math
from dataclasses import dataclass
from typing import Final

EVERY_SECONDS: Final = 5.0
"""A problem shows in the next sample. A day has 17,280 small rows for each consumer."""

KEPT_HOURS: Final = 24
"""Retention: enough for an operator on call; dashboards store more."""

SILENT_SECONDS: Final = 20.0
"""A consumer without a sample for this long counts as gone: one sample may be late, not three."""

LAG_SECONDS: Final = 60.0
"""The window of the current lag: four heartbeats, each of which measures it even without events."""

POINTS_MAX: Final = 720
"""Points in a series: as many as a chart has room for."""


@dataclass(frozen=True, slots=True)
class Presence:
    """The consumers that are alive, and the queues as they see them; ages in seconds.

    ``consumers`` have a recent sample; ``stopped`` of them have stopped. A depth is None if the
    broker does not respond to them. ``age_seconds`` is None if there was never a sample.
    ``lag_seconds`` is the worst of the last minute; None if nothing arrived in it.
    """

    consumers: int
    stopped: int
    age_seconds: float | None
    lag_seconds: float | None
    queue_depth: int | None
    urgent_queue_depth: int | None
    replay_queue_depth: int | None
    dead_queue_depth: int | None


def bucket_seconds(minutes: int) -> int:
    """Return the length of a bucket in seconds: few enough buckets, and none empty by chance."""
    return max(math.ceil(2 * EVERY_SECONDS), math.ceil(minutes * 60 / POINTS_MAX))
