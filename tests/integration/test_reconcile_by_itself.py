"""Reconcile starts by itself: on an empty replica, after lost messages, and on a schedule."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import ApiSettings, RelaySettings
from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from replica.reconcile.model import Reason
from replica.reconcile.schedule import why_degraded
from replica.settings import CONNECTIONS_MIN
from service_kit.database.engines import pooled
from tests.support.database_sessions import reading
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.reconciling import DAMAGE, Pair, paired, watching
from tests.support.settings import having


@pytest.fixture
def relay_settings(relay_settings: RelaySettings) -> RelaySettings:
    return having(relay_settings, heartbeat_seconds=0.2)


@pytest.fixture
async def pair(empty_pair: Pair) -> Pair:
    await empty_pair.fill(replica=False)
    return empty_pair


async def ended(pair: Pair, reason: Reason, times: int = 1) -> list[Row[Any]]:
    """Return the ended runs with this reason, or none while there are fewer than ``times``."""
    of = f"reason = '{reason}' AND finished_at IS NOT NULL"
    query = f"SELECT * FROM reconcile_runs WHERE {of} ORDER BY finished_at"
    found = await fetch(pair.blog, query)
    return found if len(found) >= times else []


async def degraded(pair: Pair) -> str | None:
    return await reading(pair.blog, partial(why_degraded, USERS))


async def test_an_empty_replica_populates_itself_whenever_it_is_empty(pair: Pair) -> None:
    """An empty table is never correct while the source has users."""
    before = await degraded(pair)
    async with watching(pair):
        await eventually(lambda: ended(pair, Reason.EMPTY))
        await eventually(pair.agrees)
        after = await degraded(pair)
        await pair.damage("TRUNCATE users")
        await eventually(lambda: ended(pair, Reason.EMPTY, times=2))

    assert (before, after) == ("empty", None)
    for run in await ended(pair, Reason.EMPTY):
        assert (run.verdict, run.compared, run.repaired) == ("in_step", 200, {"missing": 200})
        assert run.requested_by is None
    assert await pair.agrees()


async def test_an_automatic_run_reports_what_it_may_not_repair(pair: Pair) -> None:
    """It repairs missing rows; changed content and newer versions need an operator."""
    async with watching(pair):
        await eventually(lambda: ended(pair, Reason.EMPTY))
        await pair.damage(DAMAGE["corrupt"], DAMAGE["ahead"], DAMAGE["missing"])
        await execute(pair.auth, "UPDATE source SET heartbeat = heartbeat + 3")
        await eventually(lambda: ended(pair, Reason.GAP))

    [run] = await ended(pair, Reason.GAP)
    assert run.verdict == "drift"
    assert run.differing == {"missing": 1, "corrupt": 1, "ahead": 1}
    assert run.repaired == {"missing": 1}


async def test_heartbeat_numbers_that_run_backwards_start_a_comparison_only(pair: Pair) -> None:
    """The source was restored from a backup, so its rows must not overwrite newer ones."""
    async with watching(pair):
        await eventually(lambda: ended(pair, Reason.EMPTY))
        await pair.damage(DAMAGE["missing"])
        await execute(pair.auth, "UPDATE source SET heartbeat = 0")
        await eventually(lambda: ended(pair, Reason.BACKWARDS))
    [run, *_] = await ended(pair, Reason.BACKWARDS)
    assert (run.verdict, run.repaired) == ("drift", {})
    assert run.differing == {"missing": 1}


async def test_a_scheduled_run_repairs_drift(pair: Pair) -> None:
    async with watching(pair, reconcile_every_seconds=0.5):
        await eventually(lambda: ended(pair, Reason.EMPTY))
        await pair.damage(DAMAGE["missing"])
        await eventually(pair.agrees)
        assert await eventually(lambda: ended(pair, Reason.SCHEDULE))


async def test_concurrent_watches_start_one_run(pair: Pair) -> None:
    async with watching(pair), watching(pair), watching(pair):
        await eventually(lambda: ended(pair, Reason.EMPTY))
        await eventually(pair.agrees)
        await execute(pair.auth, "UPDATE source SET heartbeat = heartbeat + 3")
        await eventually(lambda: ended(pair, Reason.GAP))
    assert len(await ended(pair, Reason.EMPTY)) == 1
    assert len(await ended(pair, Reason.GAP)) == 1


async def test_an_automatic_run_is_retried_until_the_source_responds(pair: Pair) -> None:
    async with watching(pair, auth_url="http://127.0.0.1:1"):
        await eventually(lambda: ended(pair, Reason.EMPTY))
    async with watching(pair):
        await eventually(lambda: ended(pair, Reason.EMPTY, times=2))
    first, *_, last = await ended(pair, Reason.EMPTY)
    assert (first.verdict, last.verdict) == ("could_not_compare", "in_step")


async def test_without_a_service_account_nothing_is_compared(pair: Pair) -> None:
    """The consumer still runs, and the replica stays degraded."""
    nothing: dict[str, Any] = {"auth_url": None, "service_id": None, "api_key": None}
    async with watching(pair, **nothing):
        assert await degraded(pair) == "empty"
        assert await fetch(pair.blog, "SELECT 1 FROM reconcile_runs") == []


async def test_lost_messages_are_detected_and_repaired_with_three_connections(
    api_settings: ApiSettings,
    relay_settings: RelaySettings,
    consumer_settings: ConsumerSettings,
    auth_engine: AsyncEngine,
) -> None:
    """The minimum is shared by a comparison, its locks and the messages."""
    few = having(consumer_settings, database_connections_max=CONNECTIONS_MIN)
    engine = pooled(few)
    async with paired(api_settings, relay_settings, few, auth_engine, engine) as pair:
        await pair.fill(replica=False)
        async with watching(pair):
            await eventually(lambda: ended(pair, Reason.EMPTY))
            # Simulate lost messages about these users, and lost heartbeats.
            stale = "UPDATE users SET version = version - 1 WHERE email LIKE 'user2_@%'"
            await pair.damage("DELETE FROM users WHERE email LIKE 'user1_@%'", stale)
            await execute(pair.auth, "UPDATE source SET heartbeat = heartbeat + 3")
            await eventually(lambda: ended(pair, Reason.GAP))
            await eventually(pair.agrees)
        [run] = await ended(pair, Reason.GAP)
        assert run.repaired == {"missing": 9, "stale": 9}
        assert await degraded(pair) is None
    await engine.dispose()
