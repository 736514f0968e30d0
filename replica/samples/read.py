"""Read the samples: a series for a chart, and who is there now.

Several consumers each take their own. In a bucket of a series the worst latency counts, the deepest
queue, and all that they applied together; what consumers are at counts as of the last sample of
each. Samples of the future were taken before the clock was set back, and do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.samples.model import LAG_SECONDS, SILENT_SECONDS, Presence, bucket_seconds


@dataclass(frozen=True, slots=True)
class Point:
    """The samples of one bucket, which begins ``at``; a depth is None if no broker answered."""

    at: datetime
    consumers: int
    latency_seconds: float | None
    applied: int
    queue_depth: int | None
    replay_queue_depth: int | None
    dead_queue_depth: int | None


@dataclass(frozen=True, slots=True)
class Series:
    """The last ``minutes`` before ``until``, in stretches of so many seconds, oldest first.

    Where no consumer was alive nothing is; before ``since`` none is known to have ever been, None
    when none ever was.
    """

    until: datetime
    since: datetime | None
    minutes: int
    bucket_seconds: int
    items: Sequence[Point]


_NOW: Final = select(func.clock_timestamp())

# Samples are kept for a day, comparisons for longer; a consumer makes the first one at once.
_SINCE: Final = text(
    """
    SELECT least((SELECT min(taken_at) FROM samples), (SELECT min(started_at) FROM reconcile_runs))
    """
)

_SERIES: Final = text(
    """
    SELECT date_bin(make_interval(secs => :bucket), taken_at, timestamptz '2000-01-01 00:00Z')
               AS at,
           count(DISTINCT process)::int AS consumers,
           max(latency_seconds) AS latency_seconds,
           sum(applied)::bigint AS applied,
           max(queue_depth) AS queue_depth,
           max(replay_queue_depth) AS replay_queue_depth,
           max(dead_queue_depth) AS dead_queue_depth
    FROM samples
    WHERE taken_at BETWEEN now() - make_interval(mins => :minutes) AND clock_timestamp()
    GROUP BY 1 ORDER BY 1
    """
)

_PRESENCE: Final = text(
    """
    SELECT count(*)::int AS consumers,
           (count(*) FILTER (WHERE state = 'stopped'))::int AS stopped,
           (SELECT extract(epoch FROM clock_timestamp() - max(taken_at))::float
              FROM samples WHERE taken_at <= clock_timestamp()) AS age_seconds,
           (SELECT max(latency_seconds) FROM samples
             WHERE taken_at BETWEEN clock_timestamp() - make_interval(secs => :lag)
                                AND clock_timestamp()) AS lag_seconds,
           max(queue_depth) AS queue_depth,
           max(replay_queue_depth) AS replay_queue_depth,
           max(dead_queue_depth) AS dead_queue_depth
    FROM (
        SELECT DISTINCT ON (process) state, queue_depth, replay_queue_depth, dead_queue_depth
        FROM samples
        WHERE taken_at BETWEEN clock_timestamp() - make_interval(secs => :silent)
                           AND clock_timestamp()
        ORDER BY process, taken_at DESC
    ) AS last
    """
)


async def series(connection: AsyncConnection, minutes: int) -> Series:
    """The last ``minutes``, by this database's clock."""
    bucket = bucket_seconds(minutes)
    until = (await connection.execute(_NOW)).scalar_one()
    rows = await connection.execute(_SERIES, {"minutes": minutes, "bucket": bucket})
    since = await connection.scalar(_SINCE)
    return Series(until, since, minutes, bucket, [Point(**row) for row in rows.mappings()])


async def presence(connection: AsyncConnection) -> Presence:
    """Who is there now."""
    values = {"silent": SILENT_SECONDS, "lag": LAG_SECONDS}
    return Presence(**(await connection.execute(_PRESENCE, values)).mappings().one())
