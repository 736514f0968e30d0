"""Take samples, inside the consumer process.

Guarantees: a sample is of this consumer alone, so that several take theirs beside each other; a
broker that is away shows as depths that are not known; while the database is away nothing is
written, and what was done meanwhile counts in the next sample; the loop never ends on its own, and
live events do not wait for it. What is older than a day is deleted on the way.

Not here: what the samples of several consumers mean together (``read``).
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
    """Take a sample at once and then every few seconds, until cancelled."""
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
    taken = activity.take()
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
        activity.put_back(taken)
        raise
