"""Messages or changes are lost between two heartbeats, so that the heartbeat numbers show nothing.

The proof with the next heartbeat finds every one of them.
"""

import json

from tests.support.eventually import eventually
from tests.support.failing_over import NOTICED_SECONDS_MAX, every, failing_over
from tests.support.inbox import fetch
from tests.support.load import loaded
from tests.support.source import LIVE, source_on
from tests.support.system import System
from tests.support.whole import Whole, running

HEARTBEAT_SECONDS = 5.0
LOSS_SECONDS = 1.5


async def test_a_blog_database_that_lost_seconds_is_repaired_by_itself(system: System) -> None:
    """Users who are missing, stale or alive again are repaired, and that is on record."""
    async with failing_over(system, "blog", heartbeat_seconds=HEARTBEAT_SECONDS) as failing:
        lost = await failing.fail_over(seconds=LOSS_SECONDS)
        await eventually(failing.whole.agrees, within=NOTICED_SECONDS_MAX)
        assert lost.kinds.keys() <= {"missing", "stale", "undeleted"}
        assert lost.kinds["missing"]
        await eventually(failing.whole.is_proved)
        assert await _repaired(failing.whole) == lost.kinds
        assert not await failing.whole.alive(lost.deleted)


async def test_an_auth_database_that_lost_seconds_is_named(system: System) -> None:
    """Status, readiness and metric name exactly the kinds of what is lost; nothing is repaired."""
    async with failing_over(system, "auth", heartbeat_seconds=HEARTBEAT_SECONDS) as failing:
        lost = await failing.fail_over(seconds=LOSS_SECONDS)
        whole = failing.whole
        await eventually(whole.differs, within=NOTICED_SECONDS_MAX)

        assert lost.kinds.keys() <= {"orphan", "ahead", "undone_deletion"}
        assert lost.kinds["orphan"]
        proof = await whole.proof()
        assert proof["kinds"] == lost.kinds
        code, shown = await whole.command("blog-service status --check")
        assert code == 1
        assert f"{lost.kinds['orphan']:,} orphan" in shown.splitlines()[0]
        blog_api = whole.processes["blog-service api"]
        async with blog_api.client() as blog:
            assert (await blog.get("/readyz")).json() == {"status": "degraded", "reason": "drift"}
        for kind, count in lost.kinds.items():
            gauge = f'usersync_reconcile_differing_users{{kind="{kind}"}}'
            assert await blog_api.metric(gauge) == count
        assert "proof.compared" in _critical_events(whole)


async def test_a_queue_purged_while_the_consumer_restarts_is_repaired_by_itself(
    system: System,
) -> None:
    """The queue lost changes and no heartbeat."""
    async with running(system, **every(HEARTBEAT_SECONDS)) as whole:
        consumer = whole.processes["blog-service consumer"]
        await whole.next_heartbeat()
        await consumer.stop()
        async with (
            source_on(whole.system.amqp_url, declare=False) as source,
            loaded(whole.auth, per_second=300) as load,
        ):
            await eventually(lambda: load.changes > 100)
            load.stop()
            await eventually(whole.is_published)
            purged = await source.channel.queue_purge(LIVE)
        await consumer.ready()
        await eventually(whole.agrees, within=NOTICED_SECONDS_MAX)

        assert purged.message_count
        assert purged.message_count > 50
        await eventually(whole.is_proved)
        assert await _repaired(whole)
        assert not await whole.alive(load.deleted)


async def _repaired(whole: Whole) -> dict[str, int]:
    runs = await fetch(whole.blog, "SELECT repaired FROM reconcile_runs WHERE reason = 'proof'")
    kinds = sorted({kind for run in runs for kind in run.repaired or {}})
    return {kind: sum((run.repaired or {}).get(kind, 0) for run in runs) for kind in kinds}


def _critical_events(whole: Whole) -> set[str]:
    lines = whole.processes["blog-service consumer"].log.read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return {entry["event"] for entry in entries if entry["level"] == "critical"}
