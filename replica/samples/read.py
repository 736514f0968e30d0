"""Read the samples: a series for a chart, and the consumers that are alive.

Each consumer takes its own samples. A bucket of a series has the worst latency, the deepest queue
and the sum of applied messages. A consumer's state is that of its last sample. Samples with a time
in the future were taken before the clock was set back, and do not count.
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
    """The samples of one bucket, which starts ``at``; a depth is None if the broker was away."""

    at: datetime
    consumers: int
    latency_seconds: float | None
    applied: int
    queue_depth: int | None
    urgent_queue_depth: int | None
    replay_queue_depth: int | None
    dead_queue_depth: int | None


@dataclass(frozen=True, slots=True)
class Series:
    """The last ``minutes`` before ``until`` in buckets, oldest first.

    There is no bucket where no consumer was alive. The first known consumer ran at ``since``; None
    if there never was one.
    """

    until: datetime
    since: datetime | None
    minutes: int
    bucket_seconds: int
    items: Sequence[Point]


_NOW: Final = select(func.clock_timestamp())

# Samples are kept for a day, comparisons for longer. A new consumer compares at once.
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
           max(urgent_queue_depth) AS urgent_queue_depth,
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
           max(urgent_queue_depth) AS urgent_queue_depth,
           max(replay_queue_depth) AS replay_queue_depth,
           max(dead_queue_depth) AS dead_queue_depth
    FROM (
        SELECT DISTINCT ON (process)
               state, queue_depth, urgent_queue_depth, replay_queue_depth, dead_queue_depth
        FROM samples
        WHERE taken_at BETWEEN clock_timestamp() - make_interval(secs => :silent)
                           AND clock_timestamp()
        ORDER BY process, taken_at DESC
    ) AS last
    """
)


async def series(connection: AsyncConnection, minutes: int) -> Series:
    """Return the series of the last ``minutes``, by this database's clock."""
    bucket = bucket_seconds(minutes)
    until = (await connection.execute(_NOW)).scalar_one()
    rows = await connection.execute(_SERIES, {"minutes": minutes, "bucket": bucket})
    since = await connection.scalar(_SINCE)
    return Series(until, since, minutes, bucket, [Point(**row) for row in rows.mappings()])


async def presence(connection: AsyncConnection) -> Presence:
    """Return the consumers that are alive, and the queues as they see them."""
    values = {"silent": SILENT_SECONDS, "lag": LAG_SECONDS}
    return Presence(**(await connection.execute(_PRESENCE, values)).mappings().one())
