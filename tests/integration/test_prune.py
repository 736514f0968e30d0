"""``auth-service outbox prune``: old events are deleted, except those that are still needed."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.accounts.delete import delete_by
from auth_service.outbox import prune as pruning
from auth_service.outbox.backlog import claim, mark_published
from auth_service.outbox.heartbeat import record_heartbeat
from auth_service.outbox.prune import LOCK_KEY, AlreadyPruning, prune, prune_hourly
from auth_service.settings import RelaySettings
from service_kit.database.locks import advisory_lock
from tests.support.background import in_background
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.locks import after_waiting
from tests.support.processes import AuthCommand
from tests.support.relaying import outbox
from tests.support.replaying import insert_replays
from tests.support.settings import having

MONTH = timedelta(days=30)


async def a_log(engine: AsyncEngine, *, old: int, young: int = 0) -> list[int]:
    """Record a user's published events: ``old`` ones forty days ago, ``young`` ones now."""
    async with engine.begin() as connection:
        added = await connection.exec_driver_sql(
            f"""
            WITH ada AS (
                INSERT INTO users (email, password_hash, version)
                VALUES (gen_random_uuid() || '@example.org', 'x', 1) RETURNING id
            )
            INSERT INTO outbox_events (type, user_id, version, payload, published_at, occurred_at)
            SELECT 'user.updated', ada.id, n, '{{}}', now(),
                   now() - CASE WHEN n <= {old} THEN interval '40 days' ELSE interval '0' END
            FROM ada, generate_series(1, {old + young}) AS n ORDER BY n
            RETURNING position
            """
        )
        return sorted(added.scalars())


async def positions(engine: AsyncEngine) -> list[int]:
    rows = await fetch(engine, "SELECT position FROM outbox_events ORDER BY position")
    return [row.position for row in rows]


async def pruned_position(engine: AsyncEngine) -> int:
    [row] = await fetch(engine, "SELECT pruned_position FROM source")
    return int(row.pruned_position)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of three events, so that a few events make several."""
    monkeypatch.setattr(pruning, "BATCH_EVENTS", 3)


@pytest.mark.usefixtures("small_batches")
async def test_old_events_are_deleted_and_young_ones_stay(auth_engine: AsyncEngine) -> None:
    """Batch after batch; the result shows what is left, if anything, and the pruned position."""
    nothing = await prune(auth_engine, MONTH)
    assert (nothing.deleted, nothing.oldest_position, nothing.oldest_at) == (0, None, None)
    log = await a_log(auth_engine, old=7, young=5)

    dry = await prune(auth_engine, MONTH, is_dry=True)
    assert (dry.deleted, dry.oldest_position, dry.pruned_position) == (7, log[0], 0)
    assert await positions(auth_engine) == log
    pruned = await prune(auth_engine, MONTH)

    assert pruned.deleted == 7
    assert (pruned.kept_unpublished, pruned.kept_for_replays, pruned.kept_in_use) == (0, 0, 0)
    assert await positions(auth_engine) == log[7:]
    assert (pruned.oldest_position, pruned.pruned_position) == (log[7], log[6])
    assert await pruned_position(auth_engine) == log[6]
    empty = await prune(auth_engine, timedelta(0))
    assert (empty.oldest_position, empty.pruned_position) == (None, log[-1])


@pytest.mark.usefixtures("small_batches")
async def test_unpublished_events_stay_however_old(auth_engine: AsyncEngine) -> None:
    """The relay finds them as before."""
    log = await a_log(auth_engine, old=10, young=1)
    waiting = [log[0], log[4], log[9]]
    some = f"position = ANY ('{set(waiting)}')"
    await execute(auth_engine, f"UPDATE outbox_events SET published_at = NULL WHERE {some}")

    pruned = await prune(auth_engine, MONTH)

    assert (pruned.deleted, pruned.kept_unpublished) == (7, 3)
    assert await positions(auth_engine) == [*waiting, log[-1]]
    async with auth_engine.connect() as connection:
        for position in waiting:  # of one user
            [event] = (await claim(connection, 9)).events
            assert event.position == position
            await mark_published(connection, [position])


@pytest.mark.usefixtures("small_batches")
async def test_events_that_an_unfinished_replay_needs_stay(auth_engine: AsyncEngine) -> None:
    """All events after its checkpoint; a replay of the current state needs none."""
    holding = [("running", "log"), ("paused", "log")]
    for state, of in [*holding, ("done", "log"), ("cancelled", "log"), ("running", "state")]:
        log = await a_log(auth_engine, old=8)
        await insert_replays(auth_engine, done_position=log[6])
        held: dict[str, Any] = {"done_position": log[3], "state": f"'{state}'", "of": f"'{of}'"}
        await insert_replays(auth_engine, **held)

        pruned = await prune(auth_engine, MONTH)

        kept = log[4:] if (state, of) in holding else log[7:]
        assert await positions(auth_engine) == kept, (state, of)
        assert (pruned.deleted, pruned.kept_for_replays) == (8 - len(kept), len(kept))
        assert pruned.pruned_position == kept[0] - 1
        await execute(auth_engine, "UPDATE replays SET state = 'done'")
        assert (await prune(auth_engine, MONTH)).deleted == len(kept)


async def test_pruning_waits_for_a_replay_that_is_starting(auth_engine: AsyncEngine) -> None:
    """The start locks the source's row, and pruning waits for that."""
    log = await a_log(auth_engine, old=3)
    begin = (
        "INSERT INTO replays (consumer, of, rate, requested_by, expected, done_position)"
        f" VALUES ('blog', 'log', 1, 'operator:op', 3, {log[0]})"
    )
    pruning = prune(auth_engine, MONTH)
    pruned = await after_waiting(auth_engine, pruning, "SELECT FROM source FOR SHARE", then=begin)

    assert (pruned.deleted, pruned.kept_for_replays) == (1, 2)


async def test_pruning_and_an_erasing_deletion_do_not_wait_for_each_other(
    auth_engine: AsyncEngine,
) -> None:
    """Rows locked by the deletion are left to the next run; a later deletion misses nothing."""
    log = await a_log(auth_engine, old=4)
    others = await a_log(auth_engine, old=4)
    [erased, *_] = await fetch(auth_engine, "SELECT user_id FROM outbox_events ORDER BY position")
    async with auth_engine.begin() as deleting:
        of_user = f"user_id = '{erased.user_id}'"
        await deleting.exec_driver_sql(f"UPDATE outbox_events SET payload = NULL WHERE {of_user}")
        pruned = await prune(auth_engine, MONTH)
        assert (pruned.deleted, pruned.kept_in_use) == (4, 4)
        assert await positions(auth_engine) == log

    assert (await prune(auth_engine, MONTH)).deleted == 4
    assert pruned.pruned_position == others[-1]
    await delete_by(auth_engine, erased.user_id, actor="operator:op")
    assert [event.type for event in await outbox(auth_engine)] == ["user.deleted"]


async def test_pruning_deletions_and_the_relay_never_deadlock(
    auth_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three at once, again and again, each with its own order of rows."""
    monkeypatch.setattr(pruning, "BATCH_EVENTS", 50)
    for _ in range(12):
        await a_log(auth_engine, old=40)
    some = "UPDATE outbox_events SET published_at = NULL WHERE position % 3 = 0"
    await execute(auth_engine, some)
    users = [row.id for row in await fetch(auth_engine, "SELECT id FROM users")]

    async def relay() -> None:
        async with auth_engine.connect() as connection:
            session = await connection.execution_options(isolation_level="AUTOCOMMIT")
            while events := (await claim(session, 20)).events:
                await mark_published(session, [event.position for event in events])
                await record_heartbeat(session)
                claimed = (await claim(session, 500)).events
                await mark_published(session, [e.position for e in claimed if not e.user_id])

    async def delete_all(users: list[UUID]) -> None:
        for user_id in users:
            await delete_by(auth_engine, user_id, actor="operator:op")

    async def keep_pruning(others: list["asyncio.Task[None]"]) -> None:
        while not all(task.done() for task in others):
            await prune(auth_engine, MONTH)

    tasks = (relay(), delete_all(users[:6]), delete_all(users[6:]))
    working = [asyncio.create_task(task) for task in tasks]
    await asyncio.gather(keep_pruning(working), *working)
    await prune(auth_engine, MONTH)

    left = await fetch(auth_engine, "SELECT DISTINCT type FROM outbox_events")
    assert {row.type for row in left} == {"user.deleted", "sync.heartbeat"}
    assert len(await outbox(auth_engine)) == len(users)


@pytest.mark.usefixtures("small_batches")
async def test_an_interruption_leaves_nothing_half_done(auth_engine: AsyncEngine) -> None:
    """The pruned position covers what was deleted; the other rows are unchanged."""
    log = await a_log(auth_engine, old=9)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await prune(auth_engine, MONTH, advance=interrupt)

    assert await positions(auth_engine) == log[3:]
    assert await pruned_position(auth_engine) == log[2]
    assert (await prune(auth_engine, MONTH)).deleted == 6


async def test_one_session_prunes_at_a_time(auth_engine: AsyncEngine) -> None:
    """A second one is refused, and does not change the log."""
    log = await a_log(auth_engine, old=1)
    async with advisory_lock(auth_engine, LOCK_KEY) as connection:
        assert connection is not None
        with pytest.raises(AlreadyPruning):
            await prune(auth_engine, MONTH)

    assert await positions(auth_engine) == log
    assert (await prune(auth_engine, MONTH)).deleted == 1


async def test_a_relay_prunes_if_the_retention_is_set(
    auth_engine: AsyncEngine, relay_settings: RelaySettings
) -> None:
    """At its start and from then on; never without the setting, nor beside another relay."""
    await a_log(auth_engine, old=2, young=1)
    await prune_hourly(relay_settings)
    assert len(await positions(auth_engine)) == 3

    keeping = having(relay_settings, outbox_keep_days=30)
    with capture_logs() as logs:
        async with in_background(prune_hourly(keeping)), in_background(prune_hourly(keeping)):
            await eventually(lambda: _left(auth_engine, 1))
            await eventually(lambda: logs)

    assert [(line["event"], line["deleted"]) for line in logs] == [("log.pruned", 2)]
    assert not await fetch(auth_engine, "SELECT 1 FROM audit_log")


async def test_pruning_is_retried_after_the_database_was_away(
    auth_engine: AsyncEngine, relay_settings: RelaySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is logged, and the next round succeeds."""
    await a_log(auth_engine, old=1)
    monkeypatch.setattr(pruning, "EVERY_SECONDS", 0.05)
    keeping = having(relay_settings, outbox_keep_days=30)
    await execute(auth_engine, "ALTER TABLE replays RENAME TO away")
    with capture_logs() as logs:
        async with in_background(prune_hourly(keeping)):
            await eventually(lambda: logs)
            await execute(auth_engine, "ALTER TABLE away RENAME TO replays")
            await eventually(lambda: _left(auth_engine, 0))

    assert logs[0]["event"] == "pruning.database_away"


async def _left(engine: AsyncEngine, count: int) -> bool:
    return len(await positions(engine)) == count


async def test_the_command_shows_figures_and_refuses_invalid_durations(
    auth_engine: AsyncEngine, auth_command: AuthCommand
) -> None:
    """It also writes an audit entry."""
    log = await a_log(auth_engine, old=3, young=1)

    dry = await auth_command("outbox prune --older-than 30d --dry-run --json")
    assert not await fetch(auth_engine, "SELECT 1 FROM audit_log")
    done = await auth_command("outbox prune --older-than 30d")
    wrong = await auth_command("outbox prune --older-than 30x")

    shown = json.loads(dry.stdout)
    assert (shown["dry_run"], shown["deleted"], shown["oldest_position"]) == (True, 3, log[0])
    assert (done.returncode, len(done.stdout.splitlines())) == (0, len(shown))
    assert await positions(auth_engine) == log[3:]
    [entry] = await fetch(auth_engine, "SELECT * FROM audit_log")
    assert (entry.action, entry.actor.partition(":")[0]) == ("log_pruned", "operator")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "is not a valid duration" in wrong.stderr
