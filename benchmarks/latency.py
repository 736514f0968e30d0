"""How long from the commit in auth to the commit in blog, at 100 events a second."""

import asyncio
import time
from contextlib import AsyncExitStack

from sqlalchemy.ext.asyncio import create_async_engine

from auth_service.outbox.record import record
from benchmarks import contestants
from benchmarks.contestants import Process
from benchmarks.figures import Figures, Promise, Section, medians, percentile
from benchmarks.recording import new_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.tables import until_applied
from contracts.events import UserCreated

_HOW = """
{rate} events a second, each recorded by `record` in a transaction of its own. The clock starts just
before COMMIT is sent to the auth database, and stops when another session hears that the replica's
row is committed (a trigger of the benchmark's sends NOTIFY, which PostgreSQL delivers after the
commit). Both moments are read from the same clock by the same process, so the figure contains the
commit itself and the way of the notification: it is an upper bound, the same for both pipelines.
The first second is warm-up.
"""

_RATE = 100
_WARM_UP_SECONDS = 1.0
_NOTIFICATION_SECONDS_MAX = 0.5  # a notification follows its commit within a millisecond

_CHANNEL = "applied"
_TELL = f"""
    CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('{_CHANNEL}', NEW.id::text); RETURN NULL; END $$;
    CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE ON users
        FOR EACH ROW EXECUTE FUNCTION tell();
"""
_TELL_NO_MORE = "DROP TRIGGER tell ON users; DROP FUNCTION tell()"


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let our pipeline and the usual one take turns."""
    await stage.run(stage.blog_url, _TELL)
    try:
        figures = medians([await _round(stage, scale) for _ in range(scale.rounds)])
    finally:
        await stage.run(stage.blog_url, _TELL_NO_MORE)
    return Section(
        title="Latency",
        how=_HOW.format(rate=_RATE),
        figures=figures,
        promises=[
            Promise(
                words=f"commit to commit at {_RATE}/s, p50 (ms)",
                figure="latency_p50_ms",
                at_most=6,
            ),
            Promise(
                words=f"commit to commit at {_RATE}/s, p99 (ms)",
                figure="latency_p99_ms",
                at_most=20,
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
    """The milliseconds of each event after the warm-up, from commit to commit."""
    await stage.empty()
    heard: dict[str, float] = {}

    def hear(_: object, __: int, ___: str, user_id: object) -> None:
        heard[str(user_id)] = time.perf_counter()

    async with AsyncExitStack() as stack:
        # The relay first: it declares the exchange that a consumer waits for.
        for process in processes:
            await stack.enter_async_context(process)
        listener = await connect(stage.blog_url)
        stack.push_async_callback(listener.close)
        await listener.add_listener(_CHANNEL, hear)
        await _record(stage, 1)
        await until_applied(stage.blog_url, 1)
        committed = await _record(stage, int(_RATE * (seconds + _WARM_UP_SECONDS)))
        await until_applied(stage.blog_url, 1 + len(committed))
        await asyncio.sleep(_NOTIFICATION_SECONDS_MAX)
    measured = list(committed.items())[int(_RATE * _WARM_UP_SECONDS) :]
    return [1000 * (heard[user_id] - moment) for user_id, moment in measured]


async def _record(stage: Stage, count: int) -> dict[str, float]:
    """Record ``count`` events, one each 10 ms; the moment before each commit, by user id."""
    committed = {}
    engine = create_async_engine(stage.auth_url)
    next_at = time.perf_counter()
    async with engine.connect() as connection:
        for user in new_users(count):
            await asyncio.sleep(next_at - time.perf_counter())
            next_at += 1 / _RATE
            await record(connection, UserCreated.type, user)
            committed[str(user.id)] = time.perf_counter()
            await connection.commit()
    await engine.dispose()
    return committed
