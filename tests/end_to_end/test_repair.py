"""The replica is damaged in every known way; after the documented command both tables agree."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio

from local.postgres_server import PostgresServer
from tests.support.backups import backed_up
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.load import loaded
from tests.support.source import LIVE, source_on
from tests.support.system import System
from tests.support.whole import AUTH, BLOG, Whole, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(shared_system: System) -> AsyncIterator[Whole]:
    """All processes at work, with about a hundred users and four heartbeats a second.

    Proofs are off: they would repair some of the damage before the command does. Each test leaves
    both tables equal to the next one.
    """
    async with running(shared_system, BLOG_PROOF=False) as whole:
        yield whole


LIVING = "(SELECT id FROM users WHERE deleted_at IS NULL AND version > 0 ORDER BY id LIMIT 20)"

BY_HAND = {
    "rows deleted": f"DELETE FROM users WHERE id IN {LIVING}",
    "rows added": (
        "INSERT INTO users (id, version, email, status, created_at, updated_at)"
        " SELECT gen_random_uuid(), 1, 'ghost@example.org', 'active', now(), now()"
        " FROM generate_series(1, 8)"
    ),
    "changed by hand": f"UPDATE users SET email = 'hand@example.org' WHERE id IN {LIVING}",
    "left behind": f"UPDATE users SET version = 3, email = 'old@x.y' WHERE id IN {LIVING}",
    "made ahead": f"UPDATE users SET version = version + 10000000 WHERE id IN {LIVING}",
    "tombstones removed": "DELETE FROM users WHERE deleted_at IS NOT NULL",
    "tombstones brought to life": (
        "UPDATE users SET deleted_at = NULL, status = 'active' WHERE deleted_at IS NOT NULL"
    ),
}


async def test_damage_by_hand_is_repaired_under_live_traffic(whole: Whole) -> None:
    """Each damage in turn while users change; then the runbook's command, and exit code 0."""
    for damage, statement in BY_HAND.items():
        async with loaded(whole.auth, per_second=100):
            await execute(whole.blog, statement)
            report = await whole.succeeds("blog-service reconcile --repair --ahead --orphans")
            assert "repaired" in report, f"{damage}: {report}"
        await eventually(whole.agrees)
    await whole.succeeds("blog-service reconcile")


async def test_a_deleted_queue_is_repaired_by_itself(whole: Whole) -> None:
    """The consumer declares it again, suspects a loss, and compares."""
    async with source_on(whole.system.amqp_url, declare=False) as source:
        await whole.processes["blog-service consumer"].stop()
        async with loaded(whole.auth, per_second=100) as load:
            before = load.changes
            await eventually(lambda: load.changes > before + 100)
        await eventually(whole.is_published)
        await source.channel.queue_delete(LIVE)
    with pytest.raises(AssertionError):
        await whole.agrees()

    await whole.start("blog-service consumer")

    await eventually(whole.agrees, within=40)
    await eventually(lambda: _last_reason(whole, "queue_lost", "gap"))


async def test_a_restored_blog_database_needs_no_action(
    whole: Whole, postgres: PostgresServer
) -> None:
    """The heartbeat numbers show the gap, and the replica fetches the lost hour."""
    await whole.stop(*BLOG)
    with backed_up(postgres, whole.system.blog_url) as backup:
        await whole.start(*BLOG)
        await _an_hour_passes(whole)
        await eventually(whole.agrees)
        await whole.stop(*BLOG)
        backup.restore()
    with pytest.raises(AssertionError):
        await whole.agrees()

    await whole.start(*BLOG)

    await eventually(whole.agrees, within=40)
    await whole.succeeds("blog-service reconcile")


@pytest.mark.slow
async def test_a_restored_auth_database_is_repaired(whole: Whole, postgres: PostgresServer) -> None:
    """The documented commands, with messages of the lost hour in the queue and parked.

    Afterwards both agree, users deleted in the lost hour stay deleted, and later events apply.
    """
    await whole.stop(*AUTH)
    with backed_up(postgres, whole.system.auth_url) as backup:
        await whole.start(*AUTH)
        deleted = await _an_hour_passes(whole)
        await eventually(whole.agrees)
        late = await _messages_wait(whole)
        await whole.stop(*AUTH)
        backup.restore()

    # The runbook: while API and relay are down, first the floor, then the command.
    floor = (await whole.figures("blog-service status"))["highest_version"]
    await whole.succeeds(f"auth-service restored --floor {floor}")
    await whole.start(*AUTH, "blog-service consumer")
    await whole.succeeds("blog-service parked redrive --all")
    await eventually(lambda: _nothing_waits(whole))
    found = await whole.figures(
        "blog-service reconcile --repair --ahead --orphans --max-deletions 1000"
    )
    undone = [one["user_id"] for one in found["findings"] if one["kind"] == "undone_deletion"]
    assert undone, found
    assert set(found["differing"]) - set(found["repaired"]) == {"undone_deletion"}
    await whole.succeeds(f"auth-service users erase --yes {' '.join(undone)}")

    await eventually(whole.agrees)
    await whole.succeeds("blog-service reconcile")
    assert not await whole.alive(deleted + late)
    async with loaded(whole.auth, per_second=100) as load:
        await eventually(lambda: load.changes > 100)
    await eventually(whole.agrees)


async def _an_hour_passes(whole: Whole) -> list[UUID]:
    """Users sign up, change and are deleted; return the ids of deleted users who existed before."""
    living = await fetch(whole.auth, "SELECT id FROM users WHERE deleted_at IS NULL")
    before = {row.id for row in living}
    async with loaded(whole.auth, per_second=200) as load:
        # A load deletes its own users; these existed before it began.
        ids = " ".join(str(user_id) for user_id in sorted(before)[:5])
        await whole.succeeds(f"auth-service users erase --yes {ids}")
        await eventually(lambda: load.changes > 300)
    gone = await fetch(whole.auth, "SELECT id FROM users WHERE deleted_at IS NOT NULL")
    return [row.id for row in gone if row.id in before]


async def _messages_wait(whole: Whole) -> list[UUID]:
    """Leave more of the lost hour: a deletion waits in the queue, and another is parked.

    The consumer stays stopped.
    """
    living = "SELECT id FROM users WHERE deleted_at IS NULL ORDER BY created_at LIMIT 2"
    queued, parked = [row.id for row in await fetch(whole.auth, living)]
    await whole.processes["blog-service consumer"].stop()
    await whole.succeeds(f"auth-service users erase --yes {queued} {parked}")
    await eventually(whole.is_published)
    return [queued, parked]


async def _nothing_waits(whole: Whole) -> bool:
    if not await whole.is_published():
        return False
    status = await whole.figures("blog-service status")
    return status["queue_depth"] == 0 and bool(status["pipe"] == "quiet")


async def _last_reason(whole: Whole, *reasons: str) -> bool:
    status = await whole.figures("blog-service status")
    return status["last_reconcile_reason"] in reasons
