"""The consumer as a process: it stops with an alarm, drains, and survives what kills it."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.builders import a_state, an_event
from tests.support.database_sessions import end_sessions
from tests.support.eventually import eventually
from tests.support.inbox import applied, fetch, has_applied, has_parked, parked, slow_down_writes
from tests.support.inbox import replica as replica_of
from tests.support.source import LIVE, REPLAY, Source
from tests.support.system import Member, consumer_process

Starting = Callable[..., Awaitable[Member]]


@pytest.fixture
async def start(blog_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Starting]:
    async with AsyncExitStack() as started:

        async def begin(**settings: object) -> Member:
            consumer = consumer_process(blog_url, amqp_url, tmp_path, **settings)
            process = await started.enter_async_context(consumer)
            process.start()
            return process

        yield begin


async def test_the_same_error_ten_times_in_a_row_stops_the_consumer_with_an_alarm(
    start: Starting, blog_engine: AsyncEngine, source: Source
) -> None:
    """Then the code is at fault: messages stay queued, readiness and a metric say so."""
    consumer = await start()
    await consumer.ready()
    healthy = await consumer.metric("usersync_consumer_stopped")

    for number in range(15):
        await source.publish_raw(b"garbage %d" % number)
    await eventually(lambda: has_parked(blog_engine, 10))
    async with consumer.client() as client:
        readiness = await eventually(lambda: _not_ready(client))
        alive = await client.get("/livez")

    async def has_the_rest() -> bool:
        return await source.ready() >= 6

    assert (healthy, await consumer.metric("usersync_consumer_stopped")) == (0, 1)
    assert await consumer.metric("usersync_parked_messages") == 10
    assert readiness is not None
    assert readiness.json()["status"] == "not ready"
    assert alive.status_code == 200
    await eventually(has_the_rest)
    assert len(await parked(blog_engine)) == 10
    assert "consumer.stopped" in consumer.log.read_text()
    assert await consumer.stop() == 0


async def test_metrics_count_what_messages_did_and_ctrl_c_stops_an_idle_consumer_at_once(
    start: Starting, blog_engine: AsyncEngine, source: Source
) -> None:
    consumer = await start()
    await consumer.ready()
    state = a_state(version=5)

    await source.publish(an_event(state, created=True), an_event(state))
    await source.publish(an_event(a_state(state.id, 4)))
    await source.publish_raw(b"garbage")
    await eventually(lambda: has_parked(blog_engine, 1))
    messages = 'usersync_inbox_messages_total{outcome="%s"}'

    async def has_counted() -> bool:
        return await consumer.metric(messages % "parked") == 1

    await eventually(has_counted)
    for outcome in ("applied", "unchanged", "stale"):
        assert await consumer.metric(messages % outcome) == 1
    assert await consumer.metric("usersync_end_to_end_latency_seconds_count") == 1
    consumer.signal(signal.SIGINT)
    await eventually(lambda: not consumer.is_running, within=10)
    assert await consumer.stop() == 0


async def test_a_stop_drains(start: Starting, blog_engine: AsyncEngine, source: Source) -> None:
    """Under load SIGTERM settles what either lane holds: exit code 0, nothing lost or repeated."""
    consumer = await start(BLOG_PREFETCH=200, BLOG_BATCH_SIZE=20, BLOG_REPLAY_BATCH_SIZE=20)
    await consumer.ready()
    live = [an_event(a_state()) for _ in range(2_000)]
    replayed = [an_event(a_state()) for _ in range(500)]
    publishing = asyncio.gather(source.publish(*live), source.replay(*replayed))
    await eventually(lambda: _has_applied_some(blog_engine, 200))

    exit_code = await consumer.stop()

    await publishing
    left = {queue: await source.take_all(queue) for queue in (LIVE, REPLAY)}
    done = set(await replica_of(blog_engine))
    waiting = {
        UUID(str((message.header.properties.headers or {})["cloudEvents_subject"]))
        for message in itertools.chain(*left.values())
    }
    assert exit_code == 0
    assert all(left.values()), "the load ended before the stop"
    assert done | waiting == {event.data.subject for event in (*live, *replayed)}
    assert done & waiting == set(), "applied, and not acknowledged"


async def test_a_message_that_kills_the_process_is_parked_alone(
    start: Starting, blog_engine: AsyncEngine, source: Source
) -> None:
    """It is tried alone by as many processes as allowed, then parked without a neighbour."""
    killer = an_event(a_state())
    neighbours = [an_event(a_state()) for _ in range(20)]
    # PostgreSQL hangs on that user, so that a kill is sure to hit the message in apply.
    await slow_down_writes(blog_engine, 60, killer.data.subject)
    consumer = await start(BLOG_ATTEMPTS_MAX=2, BLOG_STATEMENT_TIMEOUT_MS=60_000)
    await consumer.ready()
    await source.publish(*neighbours[:10], killer, *neighbours[10:])

    kills = 0
    while not await parked(blog_engine):
        await eventually(lambda: _hangs_or_is_parked(blog_engine))
        if await parked(blog_engine):
            break
        consumer.kill()
        kills += 1
        # What PostgreSQL does by itself once it notices that a client's machine is gone.
        await end_sessions(blog_engine, HANGS)
        consumer = await start(BLOG_ATTEMPTS_MAX=2, BLOG_STATEMENT_TIMEOUT_MS=60_000)

    await eventually(lambda: has_applied(blog_engine, len(neighbours)))
    [row] = await parked(blog_engine)
    assert kills == 3  # with its batch, and twice alone
    assert (row.reason, row.user_id) == ("kills_the_process", killer.data.subject)
    assert row.body == killer.data.model_dump_json().encode()
    assert await fetch(blog_engine, "SELECT * FROM attempts") == []
    assert await consumer.stop() == 0
    assert await source.ready() == 0


HANGS = "datname = current_database() AND wait_event = 'PgSleep'"


async def _hangs_or_is_parked(engine: AsyncEngine) -> bool:
    hanging = await fetch(engine, f"SELECT 1 FROM pg_stat_activity WHERE {HANGS}")
    return bool(hanging or await parked(engine))


async def _not_ready(client: httpx.AsyncClient) -> httpx.Response | None:
    answer = await client.get("/readyz")
    return answer if answer.status_code == 503 else None


async def _has_applied_some(engine: AsyncEngine, users: int) -> bool:
    return await applied(engine) >= users
