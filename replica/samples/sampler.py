"""Take samples in the consumer process.

Guarantees: a sample describes this consumer alone, so several consumers sample independently. If
the broker is away, depths are unknown. While the database is away nothing is written, and the next
sample includes the counts. The loop runs until it is cancelled, and live events do not wait for it.
Samples older than a day are deleted.

Not here: how samples of several consumers combine (``read``).
"""

from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.inbox.activity import Activity
from replica.samples.model import EVERY_SECONDS, KEPT_HOURS
from replica.samples.table import samples
from replica.settings import ConsumerSettings
from replica.table import Replica
from service_kit.broker.queue_depths import QueueLook
from service_kit.database.rounds import repeat

_FORGET: Final = text(
    "DELETE FROM samples WHERE taken_at < now() - make_interval(hours => :hours)"
).bindparams(hours=KEPT_HOURS)


async def sample_periodically(
    replica: Replica, settings: ConsumerSettings, engine: AsyncEngine, activity: Activity
) -> None:
    """Take a sample now and then every five seconds, until cancelled."""
    process = uuid4()
    depths = replica.queues.depths
    name = f"{settings.application_name} consumer: samples"
    queues = QueueLook(settings.amqp_url, depths.values(), name=name)

    async def sample() -> None:
        found = await queues.depths()
        known = {name: found[queue] for name, queue in depths.items()}
        await _take(engine, process, activity, known)

    try:
        await repeat("sample", sample, every_seconds=EVERY_SECONDS)
    finally:
        await queues.close()


async def _take(
    engine: AsyncEngine, process: UUID, activity: Activity, known: dict[str, int | None]
) -> None:
    taken = activity.take_counts()
    sample = insert(samples).values(
        process=process,
        state=taken.state,
        latency_seconds=taken.latency_seconds,
        applied=taken.applied,
        **known,
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(sample)
            await connection.execute(_FORGET)
    except BaseException:
        activity.restore_counts(taken)
        raise
