"""Measure the time from the commit in auth to the commit in blog, at 100 events a second."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy.ext.asyncio import create_async_engine

from auth_service.outbox.record import record
from benchmarks import contestants
from benchmarks.contestants import Process
from benchmarks.figures import Figures, Promise, Section, medians, percentile
from benchmarks.recording import new_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.waiting import until
from contracts.events import UserCreated

_HOW = """
{rate} events a second, each recorded by `record` in a transaction of its own. The clock starts just
before COMMIT is sent to the auth database. It stops when another session is notified that the
replica's row is committed: a trigger of the benchmark's sends NOTIFY, which PostgreSQL delivers
after the commit. One process reads both moments from the same clock. So the figure includes the
commit itself and the delivery of the notification: it is an upper bound, the same for both
pipelines. The first second is warm-up.
"""

RATE = 100
_WARM_UP_SECONDS = 1.0
_WAIT_SECONDS_MAX = 120.0

_CHANNEL = "applied"

# Only for users who have just signed up: replays meanwhile need no notification.
_NOTIFY = f"""
    CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('{_CHANNEL}', NEW.id::text); RETURN NULL; END $$;
    CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE ON users
        FOR EACH ROW WHEN (NEW.created_at > now() - interval '1 hour') EXECUTE FUNCTION tell();
"""
_STOP_NOTIFYING = "DROP TRIGGER tell ON users; DROP FUNCTION tell()"


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let our pipeline and the usual one take turns."""
    async with replica_notifying(stage):
        figures = medians([await _round(stage, scale) for _ in range(scale.rounds)])
    return Section(
        title="Latency",
        how=_HOW.format(rate=RATE),
        figures=figures,
        promises=[
            Promise(
                words=f"commit to commit at {RATE}/s, p50 (ms)",
                figure="latency_p50_ms",
                at_most=3.2,
            ),
            Promise(
                words=f"commit to commit at {RATE}/s, p99 (ms)",
                figure="latency_p99_ms",
                at_most=8,
            ),
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    ours = await _latencies(
        stage, [contestants.relay(stage), contestants.consumer(stage)], scale.latency_seconds
    )
    theirs = await _latencies(
        stage,
        [contestants.polled_relay(stage), contestants.faststream_consumer(stage)],
        scale.latency_seconds,
    )
    return {
        "latency_p50_ms": percentile(ours, 0.5),
        "latency_p99_ms": percentile(ours, 0.99),
        "faststream_latency_p50_ms": percentile(theirs, 0.5),
        "faststream_latency_p99_ms": percentile(theirs, 0.99),
    }


async def _latencies(stage: Stage, processes: list[Process], seconds: float) -> list[float]:
    await stage.empty()
    async with AsyncExitStack() as stack:
        # The relay first: it declares the exchange that a consumer waits for.
        for process in processes:
            await stack.enter_async_context(process)
        return await latencies(stage, seconds)


@asynccontextmanager
async def replica_notifying(stage: Stage) -> AsyncIterator[None]:
    """Make the replica notify of users who have just signed up, inside the block."""
    await stage.run(stage.blog_url, _NOTIFY)
    try:
        yield
    finally:
        await stage.run(stage.blog_url, _STOP_NOTIFYING)


async def latencies(stage: Stage, seconds: float) -> list[float]:
    """Return the milliseconds of each event after the warm-up, from commit to commit.

    Call it inside ``replica_notifying``, with a pipeline at work.
    """
    notified: dict[str, float] = {}

    def on_notification(_: object, __: int, ___: str, user_id: object) -> None:
        notified[str(user_id)] = time.perf_counter()

    listener = await connect(stage.blog_url)
    try:
        await listener.add_listener(_CHANNEL, on_notification)
        await _until_notified(await _record(stage, 1), notified)
        committed = await _record(stage, int(RATE * (seconds + _WARM_UP_SECONDS)))
        await _until_notified(committed, notified)
    finally:
        await listener.close()
    measured = list(committed.items())[int(RATE * _WARM_UP_SECONDS) :]
    return [1000 * (notified[user_id] - moment) for user_id, moment in measured]


async def _until_notified(committed: dict[str, float], notified: dict[str, float]) -> None:
    async def holds() -> bool:
        return committed.keys() <= notified.keys()

    await until("all events are applied", holds, seconds_max=_WAIT_SECONDS_MAX)


async def _record(stage: Stage, count: int) -> dict[str, float]:
    """Record ``count`` events, one every 10 ms; return the time before each commit, by user id."""
    committed = {}
    engine = create_async_engine(stage.auth_url)
    next_at = time.perf_counter()
    async with engine.connect() as connection:
        for user in new_users(count):
            await asyncio.sleep(next_at - time.perf_counter())
            next_at += 1 / RATE
            await record(connection, UserCreated.type, user)
            committed[str(user.id)] = time.perf_counter()
            await connection.commit()
    await engine.dispose()
    return committed
