"""A large log: frequent work never reads all of it."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox import metrics
from auth_service.outbox.backlog import claim, mark_published
from auth_service.outbox.prune import Pruned, _prune_batch
from auth_service.outbox.record import erase
from auth_service.replays.batch import next_batch
from auth_service.replays.table import to_replay
from auth_service.users.bump_versions import bump_versions
from tests.support.inbox import fetch

EVENTS = 200_000
USERS = 20_000
WAITING = 1_000
PIECE = 25_000

TIMES = 7
"""From the sixth execution on, PostgreSQL may use a generic plan."""

Work = Callable[[AsyncConnection], Awaitable[object]]


@pytest.fixture
async def grown(auth_engine: AsyncEngine) -> AsyncEngine:
    """A log of half a year, whose last thousand events are unpublished."""
    async with auth_engine.connect() as connection:
        session = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await session.execute(text("SET statement_timeout = '120s'"))
        # In pieces, each short enough for the client's time limit on a busy machine.
        for first in range(1, EVENTS, PIECE):
            await session.exec_driver_sql(
                f"""
                INSERT INTO outbox_events
                    (type, user_id, version, payload, occurred_at, published_at)
                SELECT 'user.updated', CAST(md5((n % {USERS})::text) AS uuid), n, '{{}}',
                       now() - interval '180 days' * ({EVENTS} - n) / {EVENTS},
                       CASE WHEN n <= {EVENTS - WAITING} THEN now() END
                FROM generate_series({first}, {first + PIECE - 1}) AS n
                """
            )
        await session.execute(text("VACUUM ANALYZE outbox_events"))
    return auth_engine


async def test_no_frequent_work_reads_the_whole_log(grown: AsyncEngine) -> None:
    """Reading, marking, figures, erasure, pruning and replays use an index.

    The last work does read it: the test would count one that does.
    """

    async def all_of_it(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT max(length(payload::text)) FROM outbox_events"))

    [first] = await fetch(grown, "SELECT user_id FROM outbox_events ORDER BY position LIMIT 1")
    works: dict[str, Work] = {
        "claim": lambda connection: claim(connection, 500),
        "mark": _mark,
        "figures": lambda connection: metrics.figures(connection, heartbeat_seconds=15),
        "erase": lambda connection: erase(connection, first.user_id),
        "prune": _prune,
        "a restore that is resumed": _renew,
        "replay by user": _replays(f"user_ids = '{{{first.user_id}}}'"),
        "replay by position": _replays(f"from_position = {EVENTS // 2}"),
        "replay by time": _replays("since = now() - interval '1 day'"),
        "replay by type": _replays("types = '{user.deleted}'"),
    }

    read = {name: await _whole_reads(grown, work) for name, work in works.items()}

    assert read == dict.fromkeys(works, 0)
    assert await _whole_reads(grown, all_of_it) >= TIMES


async def _whole_reads(engine: AsyncEngine, work: Work) -> int:
    """Return how often PostgreSQL scanned the whole log; everything is rolled back."""
    query = text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'outbox_events'")
    async with engine.connect() as connection:
        # The session's earlier scans may be included.
        before = await connection.scalar(query)
        for _ in range(TIMES):
            await work(connection)
        after = await connection.scalar(query)
        await connection.rollback()
    return int(after or 0) - int(before or 0)


async def _mark(connection: AsyncConnection) -> None:
    claimed = await claim(connection, 50)
    await mark_published(connection, [event.position for event in claimed.events])


async def _prune(connection: AsyncConnection) -> None:
    before = await connection.scalar(text("SELECT now() - interval '90 days'"))
    assert before is not None
    pruned = Pruned(before=before)
    await _prune_batch(connection, pruned, 0, None, is_dry=False)
    assert pruned.deleted


async def _renew(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql(
        "INSERT INTO users (email, password_hash, version)"
        " SELECT gen_random_uuid() || '@example.org', 'x', 2 FROM generate_series(1, 50)"
    )
    assert await bump_versions(connection, floor=1, after=UUID(int=0), since=EVENTS, limit=50)


def _replays(selection: str) -> Work:
    """Read the batches of a replay with a selection, one after the other."""
    column, _, value = selection.partition(" = ")

    async def read(connection: AsyncConnection) -> None:
        inserted = await connection.exec_driver_sql(
            f"INSERT INTO replays (consumer, of, rate, requested_by, expected, last_position,"
            f" {column}) VALUES ('blog', 'log', 1, 'operator:op', 1, {EVENTS}, {value}) RETURNING *"
        )
        await next_batch(connection, to_replay(inserted.one()), 500)

    return read
