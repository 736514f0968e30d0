"""Measure how long a deletion takes to the replica while a hundred thousand events wait."""

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import create_async_engine

from auth_service.outbox.record import record
from benchmarks import contestants
from benchmarks.figures import Figures, Promise, Section, medians, percentile
from benchmarks.recording import record_all
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.tables import applied
from benchmarks.waiting import until
from contracts.events import UserDeleted, UserTombstone

PAUSE_SECONDS = 0.1

_SECONDS_MAX = 120.0

_HOW = """
{waiting:,} events wait in the outbox when the relay and the consumer start. Until all of them are
applied, users are deleted one after the other, with {pause:g} s in between. The clock starts before
the commit at the source and stops when a look, every fifty milliseconds, finds the tombstone in the
replica: from then on the blog responds to the user with 401.
"""

_IS_DELETED = "SELECT EXISTS (SELECT FROM users WHERE id = $1 AND status = 'deleted')"


async def measure(stage: Stage, scale: Scale) -> Section:
    """Measure deletions beside a backlog."""
    figures = medians([await _round(stage, scale) for _ in range(scale.rounds)])
    return Section(
        title="Deletions beside a backlog",
        how=_HOW.format(waiting=scale.waiting_events, pause=PAUSE_SECONDS),
        figures=figures,
        promises=[
            Promise(
                words=f"a deletion while {scale.waiting_events:,} events wait, p99 (ms)",
                figure="deletion_p99_ms",
                at_most=1_000,
            )
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    await stage.empty()
    await record_all(stage.auth_url, scale.waiting_events)
    async with contestants.relay(stage), contestants.consumer(stage):
        took: list[float] = []
        while await applied(stage.blog_url) < scale.waiting_events + len(took):
            took.append(await _deletion(stage))
    return {
        "deletions": len(took),
        "deletion_p50_ms": percentile(took, 0.5),
        "deletion_p99_ms": percentile(took, 0.99),
        "deletion_max_ms": max(took),
    }


async def _deletion(stage: Stage) -> float:
    """Delete a user, and return the milliseconds until the replica has the tombstone."""
    await asyncio.sleep(PAUSE_SECONDS)
    user_id = uuid4()
    deleted_at = datetime.now(UTC)
    version = int(deleted_at.timestamp() * 1_000_000)
    engine = create_async_engine(stage.auth_url)
    async with engine.connect() as connection:
        tombstone = UserTombstone(id=user_id, version=version, deleted_at=deleted_at)
        await record(connection, UserDeleted.type, tombstone)
        started = time.perf_counter()
        await connection.commit()
    await _until_deleted(stage, user_id)
    took = 1000 * (time.perf_counter() - started)
    await engine.dispose()
    return took


async def _until_deleted(stage: Stage, user_id: UUID) -> None:
    connection = await connect(stage.blog_url)

    async def is_deleted() -> bool:
        return bool(await connection.fetchval(_IS_DELETED, user_id))

    try:
        await until("a deletion is applied", is_deleted, seconds_max=_SECONDS_MAX)
    finally:
        await connection.close()
