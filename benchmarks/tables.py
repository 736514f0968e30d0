"""Compute rates from the tables, by the rows' own times.

Guarantees: starting a process never counts; the first tenth of the events is warm-up, as it is for
the bare client (``client.WARM_UP``).
"""

from benchmarks.client import WARM_UP
from benchmarks.stage import connect
from benchmarks.waiting import until

_WAIT_SECONDS_MAX = 300.0

# Rows marked after the warm-up, divided by that time. A batch is marked at its end.
_PUBLISHED_PER_SECOND = """
    WITH marked AS (SELECT published_at AS at FROM outbox_events WHERE position > $2),
         edges AS (
             SELECT percentile_disc($1::float8) WITHIN GROUP (ORDER BY at) AS first, max(at) AS last
             FROM marked
         )
    SELECT count(*) / extract(epoch FROM max(last) - max(first))
    FROM marked, edges WHERE at > first
"""

# Rows applied between the start of one transaction and that of the last, divided by that time.
_APPLIED_PER_SECOND = """
    WITH edges AS (
             SELECT percentile_disc($1::float8) WITHIN GROUP (ORDER BY applied_at) AS first,
                    max(applied_at) AS last
             FROM users
         )
    SELECT count(*) / extract(epoch FROM max(last) - max(first))
    FROM users, edges WHERE applied_at >= first AND applied_at < last
"""


async def last_position(database_url: str) -> int:
    """Return the position of the newest event."""
    return int(await _value(database_url, "SELECT coalesce(max(position), 0) FROM outbox_events"))


async def until_published(database_url: str) -> None:
    """Wait until no event is left to publish."""
    query = "SELECT NOT EXISTS (SELECT FROM outbox_events WHERE published_at IS NULL)"
    await until_true("all events are published", database_url, query)


async def until_applied(database_url: str, count: int, condition: str = "true") -> None:
    """Wait until the replica has ``count`` users that meet ``condition``."""
    query = f"SELECT count(*) >= $1 FROM users WHERE {condition}"  # noqa: S608 - a constant
    await until_true(f"{count} users are applied", database_url, query, count)


async def applied(database_url: str, condition: str = "true") -> int:
    """Return how many users of the replica meet ``condition``."""
    query = f"SELECT count(*) FROM users WHERE {condition}"  # noqa: S608 - a constant
    return int(await _value(database_url, query))


async def published_per_second(database_url: str, *, after: int) -> float:
    """Return how fast the events after the position ``after`` were published."""
    return float(await _value(database_url, _PUBLISHED_PER_SECOND, WARM_UP, after))


async def applied_per_second(database_url: str) -> float:
    """Return how fast the replica's users were applied."""
    return float(await _value(database_url, _APPLIED_PER_SECOND, WARM_UP))


async def until_true(what: str, database_url: str, query: str, *values: object) -> None:
    """Wait until a query returns true."""
    connection = await connect(database_url)

    async def holds() -> bool:
        return bool(await connection.fetchval(query, *values))

    try:
        await until(what, holds, seconds_max=_WAIT_SECONDS_MAX)
    finally:
        await connection.close()


async def _value(database_url: str, query: str, *values: object) -> float:
    connection = await connect(database_url)
    try:
        return float(await connection.fetchval(query, *values))
    finally:
        await connection.close()
