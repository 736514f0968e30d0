"""Test samples: what a consumer records, and the series and figures built from it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from blog_service.replica_of_users import USERS
from contracts.events import Beat, Event
from replica.inbox.activity import Activity, State
from replica.samples import sampler
from replica.samples.model import POINTS_MAX, SILENT_SECONDS, bucket_seconds
from replica.samples.read import presence, series
from replica.samples.sampler import sample_periodically
from replica.settings import ConsumerSettings
from tests.support.auth_api import assert_problem
from tests.support.background import in_background
from tests.support.builders import a_state, an_event
from tests.support.content import People
from tests.support.database_sessions import reading
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, execute, fetch
from tests.support.settings import having
from tests.support.source import DEAD, LIVE, REPLAY, URGENT, shown_depth

SAMPLES = "/v1/sync/samples"
ADA, BOB = "'a0000000-0000-4000-8000-000000000000'", "'b0000000-0000-4000-8000-000000000000'"
"""Two consumers."""


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "EVERY_SECONDS", 0.1)


def sampling(
    settings: ConsumerSettings, engine: AsyncEngine, activity: Activity
) -> AbstractAsyncContextManager[None]:
    return in_background(sample_periodically(USERS, settings, engine, activity))


def recorded(event: Event, ago: float) -> Event:
    """Return the event as if recorded this many seconds ago."""
    return replace(event, time=datetime.now(UTC) - timedelta(seconds=ago))


async def taken(engine: AsyncEngine, condition: str = "true") -> list[Row[Any]]:
    return await fetch(engine, f"SELECT * FROM samples WHERE {condition} ORDER BY taken_at")


async def put(engine: AsyncEngine, process: str, ago: float, **values: object) -> None:
    row = {"state": "'consuming'", "applied": 0, **values}
    await execute(
        engine,
        f"INSERT INTO samples (process, taken_at, {', '.join(row)}) VALUES"
        f" ({process}, now() - interval '{ago} seconds', {', '.join(map(str, row.values()))})",
    )


class TestTaking:
    """The samples of one consumer."""

    async def test_a_sample_has_what_was_applied_and_the_worst_latency(self, inbox: Inbox) -> None:
        async with inbox.consuming() as consumer:
            await inbox.source.replay(recorded(an_event(a_state(version=3)), 3_600))
            await eventually(lambda: consumer.activity.applied)
            late, soon = (recorded(an_event(a_state()), ago) for ago in (40, 1))
            await inbox.source.publish(late, soon)
            await eventually(lambda: consumer.activity.applied == 3)
            async with sampling(inbox.settings, inbox.engine, consumer.activity):
                await eventually(lambda: taken_times(inbox.engine, 2))

        first, second, *_ = await taken(inbox.engine)
        assert (first.state, first.applied) == ("consuming", 3)
        assert 40 <= first.latency_seconds < 100
        assert (second.applied, second.latency_seconds) == (0, None)
        assert first.process == second.process

    async def test_a_heartbeat_measures_lag_and_parking_does_not_count(self, inbox: Inbox) -> None:
        async with inbox.consuming() as consumer:
            await inbox.source.publish_raw(b"rubbish")
            await inbox.source.publish(recorded(an_event(Beat(number=1)), 7))
            await eventually(lambda: consumer.activity.applied)
            await inbox.has_parked(1)
        assert consumer.activity.applied == 1
        assert consumer.activity.latency_seconds is not None
        assert 7 <= consumer.activity.latency_seconds < 60

    async def test_depths_are_those_of_the_queues(self, inbox: Inbox) -> None:
        await inbox.declare()
        await inbox.source.publish(*(an_event(a_state()) for _ in range(3)))
        await inbox.source.replay(*(an_event(a_state()) for _ in range(2)))
        await inbox.source.publish_raw(b"given up", exchange=DEAD)
        for _ in range(4):
            await inbox.source.publish_raw(b"urgent", exchange="", routing_key=URGENT)
        async with sampling(inbox.settings, inbox.engine, Activity()):
            depths = "queue_depth = 3 AND replay_queue_depth = 2 AND dead_queue_depth = 1"
            await eventually(lambda: taken(inbox.engine, f"{depths} AND urgent_queue_depth = 4"))
            shown = {queue: shown_depth(queue) for queue in (LIVE, URGENT, REPLAY, DEAD)}
        assert shown == {LIVE: 3, URGENT: 4, REPLAY: 2, DEAD: 1}

        [first, *_] = await taken(inbox.engine)
        assert (first.state, first.applied) == ("waiting", 0)

    async def test_a_broker_that_is_away(
        self, consumer_settings: ConsumerSettings, blog_engine: AsyncEngine, unused_port: int
    ) -> None:
        away = having(consumer_settings, amqp_url=f"amqp://guest:guest@127.0.0.1:{unused_port}/")
        async with sampling(away, blog_engine, Activity()):
            await eventually(lambda: taken_times(blog_engine, 2))
            assert shown_depth(LIVE) is None
        assert {row.queue_depth for row in await taken(blog_engine)} == {None}

    async def test_a_database_that_is_away_loses_no_count(
        self, consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
    ) -> None:
        """The first sample afterwards includes the counts, and the loop continues."""
        activity = Activity(State.CONSUMING, applied=5, latency_seconds=2.0)
        await execute(blog_engine, "ALTER TABLE samples RENAME TO elsewhere")
        with capture_logs() as logs:
            async with sampling(consumer_settings, blog_engine, activity):
                await eventually(lambda: [each for each in logs if "sample." in each["event"]])
                activity.applied += 2
                await execute(blog_engine, "ALTER TABLE elsewhere RENAME TO samples")
                await eventually(lambda: taken(blog_engine))

        [first, *_] = await taken(blog_engine)
        assert (first.applied, first.latency_seconds) == (7, 2.0)

    async def test_a_consumer_that_has_given_up_says_so(self, inbox: Inbox) -> None:
        async with (
            inbox.consuming(parked_in_a_row_max=2) as consumer,
            sampling(inbox.settings, inbox.engine, consumer.activity),
        ):
            await inbox.source.publish_raw(b"rubbish 1")
            await inbox.source.publish_raw(b"rubbish 2")
            await eventually(lambda: taken(inbox.engine, "state = 'stopped'"))

        present = await reading(inbox.engine, presence)
        assert (present.consumers, present.stopped) == (1, 1)

    async def test_samples_older_than_a_day_are_deleted(
        self, consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
    ) -> None:
        await put(blog_engine, ADA, ago=24 * 3600 + 60, applied=1)
        await put(blog_engine, ADA, ago=24 * 3600 - 60, applied=2)
        async with sampling(consumer_settings, blog_engine, Activity(applied=3)):
            await eventually(lambda: taken(blog_engine, "applied = 3"))
        assert [row.applied for row in await taken(blog_engine)][:2] == [2, 3]


class TestReading:
    """The combined samples of all consumers."""

    async def test_a_bucket_holds_the_worst_of_all(self, blog_engine: AsyncEngine) -> None:
        """It has the worst latency, the deepest queue and the sum of messages; gaps stay gaps."""
        await put(blog_engine, ADA, 40 * 60, latency_seconds=0.5, applied=3, queue_depth=1)
        await put(blog_engine, ADA, 40 * 60, latency_seconds=0.1, applied=4, queue_depth=9)
        await put(blog_engine, BOB, 40 * 60, applied=5)
        await put(blog_engine, BOB, 10 * 60, applied=6)
        await put(blog_engine, BOB, 70 * 60, applied=7)

        found = await reading(blog_engine, series, 60)

        then, later = found.items
        assert (then.consumers, then.applied) == (2, 12)
        assert (then.latency_seconds, then.queue_depth) == (0.5, 9)
        assert (later.consumers, later.applied, later.queue_depth) == (1, 6, None)
        assert 25 * 60 < (later.at - then.at).total_seconds() < 35 * 60
        assert 9 * 60 < (found.until - later.at).total_seconds() < 11 * 60

    def test_a_series_is_never_too_long(self) -> None:
        """For any time range; and no bucket is empty by chance."""
        for minutes in (1, 60, 6 * 60, 24 * 60):
            assert minutes * 60 / bucket_seconds(minutes) <= POINTS_MAX
            assert bucket_seconds(minutes) >= 10

    async def test_each_consumer_counts_with_the_last_one(self, blog_engine: AsyncEngine) -> None:
        """A silent one does not count; depth and lag are the worst of the last minute."""
        await put(blog_engine, ADA, 8, queue_depth=500, state="'stopped'", latency_seconds=9)
        await put(blog_engine, ADA, 3, queue_depth=2, replay_queue_depth=1)
        await put(blog_engine, BOB, 4, queue_depth=3, urgent_queue_depth=5)
        silent = SILENT_SECONDS + 1
        await put(blog_engine, "gen_random_uuid()", silent, queue_depth=77, latency_seconds=1)
        await put(blog_engine, BOB, 90, latency_seconds=1_000)

        present = await reading(blog_engine, presence)

        assert (present.consumers, present.stopped, present.lag_seconds) == (2, 0, 9)
        depths = (present.queue_depth, present.replay_queue_depth, present.dead_queue_depth)
        assert depths == (3, 1, None)
        assert present.urgent_queue_depth == 5
        assert present.age_seconds == pytest.approx(3, abs=2)

    async def test_without_any(self, blog_engine: AsyncEngine) -> None:
        present = await reading(blog_engine, presence)
        found = await reading(blog_engine, series, 60)
        assert (present.consumers, present.age_seconds, present.lag_seconds) == (0, None, None)
        assert list(found.items) == []


async def test_over_http(people: People) -> None:
    people.act_as(await people.user(roles=("operator",)))
    await put(people.engine, ADA, 30, latency_seconds=0.02, applied=3, queue_depth=0)

    answer = await people.client.get(SAMPLES)
    day = await people.client.get(f"{SAMPLES}?minutes=1440")
    longer = await people.client.get(f"{SAMPLES}?minutes=1441")

    shown = answer.json()
    [point] = shown["items"]
    assert (shown["minutes"], shown["bucket_seconds"]) == (60, 10)
    assert day.json()["bucket_seconds"] == 120
    assert point.pop("at") < shown["until"]
    assert _seconds(shown["since"], shown["until"]) == pytest.approx(30, abs=20)
    unknown = ("urgent_queue_depth", "replay_queue_depth", "dead_queue_depth")
    depths = {"queue_depth": 0, **dict.fromkeys(unknown)}
    assert point == {"consumers": 1, "latency_seconds": 0.02, "applied": 3, **depths}
    assert_problem(longer, 422, "invalid_request")


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


async def taken_times(engine: AsyncEngine, times: int) -> bool:
    return len(await taken(engine)) >= times
