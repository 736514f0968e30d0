"""Fill the outbox in bulk, with events as ``auth_service.outbox.record`` records them.

``record`` inserts one row and wakes the relay per request; here both happen once per batch. One
statement per event would cost the two cores more than everything that is measured.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from auth_service.outbox.table import RELAY_LEASE
from benchmarks.stage import Stage, connect
from contracts.events import UserCreated, UserState

BATCH: Final = 1_000

_RECORD = """
    WITH recorded AS (
        INSERT INTO outbox_events (type, user_id, version, payload)
        SELECT $2, user_id, version, payload::json
        FROM unnest($3::uuid[], $4::bigint[], $5::text[]) AS new (user_id, version, payload)
    )
    SELECT pg_notify($1, '')
"""

# Rows that were published long ago, each about another user, made inside PostgreSQL.
_FILL_LOG = """
    INSERT INTO outbox_events (type, user_id, version, payload, published_at)
    SELECT $1, id, version, row_to_json(state), now()
    FROM (
        SELECT gen_random_uuid() AS id, 1700000000000000 + n AS version,
               'user-' || n || '@example.org' AS email, true AS email_verified,
               '{author}'::text[] AS roles, 'active' AS status,
               NULL::timestamptz AS tokens_valid_after,
               now() - interval '1 year' AS created_at, now() - interval '1 year' AS updated_at
        FROM generate_series(1, $2::int) AS n
    ) AS state
"""

# Users of a source after some time: one in ten deleted, some disabled, some with two roles.
_MAKE_USERS = """
    INSERT INTO users (version, email, email_verified, password_hash, roles, status,
                       tokens_valid_after, created_at, updated_at, deleted_at)
    SELECT 1700000000000000 + n,
           CASE WHEN NOT is_dead THEN 'user-' || n || '@example.org' END,
           NOT is_dead AND n % 3 > 0,
           CASE WHEN NOT is_dead THEN 'x' END,
           CASE WHEN NOT is_dead AND n % 7 = 0 THEN '{author,moderator}'::text[] ELSE '{}' END,
           CASE WHEN is_dead THEN 'deleted' WHEN n % 11 = 0 THEN 'disabled' ELSE 'active' END,
           CASE WHEN NOT is_dead AND n % 5 = 0 THEN date_trunc('second', now()) END,
           at, at, CASE WHEN is_dead THEN at END
    FROM (
        SELECT n, n % 10 = 0 AS is_dead, now() - n * interval '1.2345 seconds' AS at
        FROM generate_series($1::int, $2::int) AS n
    ) AS made
"""


def new_users(count: int) -> Iterator[UserState]:
    """Make users who have just signed up."""
    now = datetime.now(UTC)
    first_version = int(now.timestamp() * 1_000_000)
    for number in range(count):
        user_id = uuid4()
        yield UserState(
            id=user_id,
            version=first_version + number,
            email=f"user-{user_id.hex[:12]}@example.org",
            email_verified=True,
            roles=("author",),
            status="active",
            tokens_valid_after=None,
            created_at=now,
            updated_at=now,
        )


async def record_batch(connection: asyncpg.Connection, users: list[UserState]) -> UUID:
    """Record ``user.created`` for ``users`` in one transaction; return the last user's id."""
    await connection.execute(
        _RECORD,
        RELAY_LEASE.channel,
        UserCreated.type,
        [user.id for user in users],
        [user.version for user in users],
        [user.model_dump_json() for user in users],
    )
    return users[-1].id


async def record_all(database_url: str, count: int) -> None:
    """Record ``count`` events, batch after batch."""
    async with _connected(database_url) as connection:
        for start in range(0, count, BATCH):
            await record_batch(connection, list(new_users(min(BATCH, count - start))))


async def fill_log(stage: Stage, database_url: str, count: int) -> None:
    """Leave ``count`` published events in the log, and nothing else.

    Their users signed up a year ago.
    """
    async with _connected(database_url) as connection:
        await connection.execute("TRUNCATE outbox_events")
        await connection.execute(_FILL_LOG, UserCreated.type, count)
    # Autovacuum would do the same at a time of its own, possibly during a measurement.
    await stage.run(database_url, "VACUUM (ANALYZE) outbox_events")


async def make_users(stage: Stage, first: int, last: int) -> None:
    """Add users to the source, numbered ``first`` to ``last``, without events in the log."""
    async with _connected(stage.auth_url) as connection:
        await connection.execute(_MAKE_USERS, first, last)
    await stage.run(stage.auth_url, "VACUUM (ANALYZE) users")


@asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()
