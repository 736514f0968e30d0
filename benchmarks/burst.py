"""Measure how long everybody else's events take while one user changes thousands of times."""

from sqlalchemy.ext.asyncio import create_async_engine

from auth_service.outbox.record import record_many
from benchmarks import contestants
from benchmarks.figures import Figures, Promise, Section, medians, percentile
from benchmarks.latency import RATE, latencies, replica_notifying
from benchmarks.recording import new_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from contracts.events import UserState, UserUpdated

CHANGES = 5_000

_HOW = """
One user's {changes:,} changes are recorded in one transaction, and {rate} other users a second sign
up meanwhile. Their time is measured from commit to commit, as under Latency. The user's own events
go out one after the other, each after the confirm of the one before; the figure says how many of
them still waited when the last of the others was applied.
"""

_LEFT = "SELECT count(*) FROM outbox_events WHERE published_at IS NULL AND user_id = $1"


async def measure(stage: Stage, scale: Scale) -> Section:
    """Measure everybody else's latency beside a burst."""
    async with replica_notifying(stage):
        figures = medians([await _round(stage, scale) for _ in range(scale.rounds)])
    return Section(
        title="One user's burst",
        how=_HOW.format(changes=CHANGES, rate=RATE),
        figures=figures,
        promises=[
            Promise(
                words=f"everybody else while one user changes {CHANGES:,} times, p99 (ms)",
                figure="others_latency_p99_ms",
                at_most=50,
            )
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    await stage.empty()
    async with contestants.relay(stage), contestants.consumer(stage):
        burst = await _record_burst(stage)
        others = await latencies(stage, scale.burst_seconds)
        left = await _left(stage, burst)
    return {
        "others_latency_p50_ms": percentile(others, 0.5),
        "others_latency_p99_ms": percentile(others, 0.99),
        "others_latency_max_ms": max(others),
        "events_of_the_burst_left": left,
    }


async def _record_burst(stage: Stage) -> UserState:
    [user] = new_users(1)
    states = [user.model_copy(update={"version": user.version + n}) for n in range(CHANGES)]
    engine = create_async_engine(stage.auth_url)
    async with engine.begin() as connection:
        await record_many(connection, UserUpdated.type, states)
    await engine.dispose()
    return user


async def _left(stage: Stage, user: UserState) -> float:
    connection = await connect(stage.auth_url)
    try:
        return float(await connection.fetchval(_LEFT, user.id))
    finally:
        await connection.close()
