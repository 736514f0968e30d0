"""The consumer as a process: it stops with an alarm, drains, and survives what kills it."""

import asyncio
import json
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from local.ports import free_port
from tests.support.builders import a_state, an_event
from tests.support.eventually import eventually
from tests.support.inbox import applied, execute, fetch, has_applied, has_parked, parked
from tests.support.inbox import replica as replica_of
from tests.support.processes import Process
from tests.support.source import LIVE, REPLAY, Source

Starting = Callable[..., "ConsumerProcess"]


class ConsumerProcess(Process):
    """``blog-service consumer`` with the address of its health and metrics."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        port = free_port()
        self.health = f"http://127.0.0.1:{port}"
        super().__init__(
            "blog-service consumer",
            {**environment, "BLOG_CONSUMER_PORT": str(port)},
            folder / f"consumer-{port}.log",
        )

    async def ready(self) -> None:
        await self.is_ready(f"{self.health}/readyz")

    async def get(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.health + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
async def start(blog_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Starting]:
    started: list[ConsumerProcess] = []

    def begin(**settings: object) -> ConsumerProcess:
        environment = {"BLOG_DATABASE_URL": blog_url, "BLOG_AMQP_URL": amqp_url}
        environment |= {f"BLOG_{name.upper()}": str(value) for name, value in settings.items()}
        process = ConsumerProcess(environment, tmp_path)
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


async def test_the_same_error_ten_times_in_a_row_stops_the_consumer_with_an_alarm(
    start: Starting, blog_engine: AsyncEngine, source: Source
) -> None:
    """Then the code is at fault: messages stay queued, readiness and a metric say so."""
    consumer = start()
    await consumer.ready()
    healthy = await consumer.get("/metrics")

    for number in range(15):
        await source.publish_raw(b"garbage %d" % number)
    await eventually(lambda: has_parked(blog_engine, 10))
    await eventually(lambda: _answers(consumer, "/readyz", 503))

    _, readiness = await consumer.get("/readyz")
    _, metrics = await consumer.get("/metrics")
    assert "usersync_consumer_stopped 0.0" in healthy[1]
    assert "usersync_consumer_stopped 1.0" in metrics
    assert "usersync_parked_messages 10.0" in metrics
    assert json.loads(readiness)["status"] == "not ready"
    assert (await consumer.get("/livez"))[0] == 200
    assert await source.ready() >= 6
    assert len(await parked(blog_engine)) == 10
    assert "consumer.stopped" in consumer.log.read_text()
    assert await consumer.stop() == 0


async def test_metrics_count_what_messages_did_and_ctrl_c_stops_an_idle_consumer_at_once(
    start: Starting, blog_engine: AsyncEngine, source: Source
) -> None:
    consumer = start()
    await consumer.ready()
    state = a_state(version=5)

    await source.publish(an_event(state, created=True), an_event(state))
    await source.publish(an_event(a_state(state.id, 4)))
    await source.publish_raw(b"garbage")
    await eventually(lambda: has_parked(blog_engine, 1))
    await eventually(lambda: _has_line(consumer, 'messages_total{outcome="parked"} 1.0'))

    _, metrics = await consumer.get("/metrics")
    for outcome in ("applied", "unchanged", "stale"):
        assert f'usersync_inbox_messages_total{{outcome="{outcome}"}} 1.0' in metrics
    assert "usersync_end_to_end_latency_seconds_count 1.0" in metrics
    consumer.signal(signal.SIGINT)
    await eventually(lambda: not consumer.is_running, within=10)
    assert await consumer.stop() == 0


async def test_a_stop_drains(start: Starting, blog_engine: AsyncEngine, source: Source) -> None:
    """Under load SIGTERM settles what either lane holds: exit code 0, nothing lost or repeated."""
    consumer = start(prefetch=200, batch_size=20, replay_batch_size=20)
    await consumer.ready()
    live = [an_event(a_state()) for _ in range(2_000)]
    replayed = [an_event(a_state()) for _ in range(500)]
    publishing = asyncio.gather(source.publish(*live), source.replay(*replayed))
    await eventually(lambda: _has_some(blog_engine, 200))

    exit_code = await consumer.stop()

    await publishing
    left = {queue: await source.take_all(queue) for queue in (LIVE, REPLAY)}
    done = set(await replica_of(blog_engine))
    waiting = {
        _subject(message.header.properties.headers)
        for messages in left.values()
        for message in messages
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
    assert killer.data.subject
    await _hang_on(blog_engine, killer.data.subject)
    consumer = start(attempts_max=2, statement_timeout_ms=60_000)
    await consumer.ready()
    await source.publish(*neighbours[:10], killer, *neighbours[10:])

    kills = 0
    while not await parked(blog_engine):
        await eventually(lambda: _hangs_or_is_parked(blog_engine))
        if await parked(blog_engine):
            break
        consumer.kill()
        kills += 1
        await _end_sessions(blog_engine)
        consumer = start(attempts_max=2, statement_timeout_ms=60_000)

    await eventually(lambda: has_applied(blog_engine, len(neighbours)))
    [row] = await parked(blog_engine)
    assert kills == 3  # with its batch, and twice alone
    assert (row.reason, row.user_id) == ("kills_the_process", killer.data.subject)
    assert row.body == killer.data.model_dump_json().encode()
    assert await fetch(blog_engine, "SELECT * FROM attempts") == []
    assert await consumer.stop() == 0
    assert await source.ready() == 0


async def test_attempts_are_forgotten_on_success(
    start: Starting, blog_engine: AsyncEngine, source: Source
) -> None:
    event = an_event(a_state())
    assert event.data.subject
    await _hang_on(blog_engine, event.data.subject)
    for kills in range(2):
        consumer = start(statement_timeout_ms=60_000)
        if not kills:
            await consumer.ready()
            await source.publish(event)
        await eventually(lambda: _hangs_or_is_parked(blog_engine))
        consumer.kill()
        await _end_sessions(blog_engine)
    counted = await fetch(blog_engine, "SELECT attempts FROM attempts")
    await execute(blog_engine, "DROP TRIGGER hang ON users")

    start()
    await eventually(lambda: has_applied(blog_engine, 1))

    assert [row.attempts for row in counted] == [1]
    assert await fetch(blog_engine, "SELECT * FROM attempts") == []
    assert await parked(blog_engine) == []


async def _hang_on(engine: AsyncEngine, user_id: UUID) -> None:
    """Let PostgreSQL hang on one user, so that a kill is sure to hit the message in apply."""
    await execute(
        engine,
        f"""
        CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.id = '{user_id}' THEN PERFORM pg_sleep(60); END IF;
            RETURN NEW;
        END $$
        """,
        "CREATE TRIGGER hang BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION hang()",
    )


async def _hangs_or_is_parked(engine: AsyncEngine) -> bool:
    hanging = await fetch(
        engine,
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event = 'PgSleep'",
    )
    return bool(hanging or await parked(engine))


async def _end_sessions(engine: AsyncEngine) -> None:
    """What PostgreSQL does by itself once it notices that a client's machine is gone."""
    await execute(
        engine,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event = 'PgSleep'",
    )


async def _answers(consumer: ConsumerProcess, path: str, status: int) -> bool:
    return (await consumer.get(path))[0] == status


async def _has_line(consumer: ConsumerProcess, line: str) -> bool:
    return line in (await consumer.get("/metrics"))[1]


async def _has_some(engine: AsyncEngine, users: int) -> bool:
    return await applied(engine) >= users


def _subject(headers: dict[str, Any] | None) -> UUID:
    return UUID((headers or {})["cloudEvents_subject"])
