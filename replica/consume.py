"""The process ``consumer``: apply events, compare, take samples, run the service's tasks."""

import asyncio
from functools import partial

from replica.inbox.consumer import Consumer
from replica.proof import current as proof
from replica.proof.watch import prove_continuously
from replica.reconcile.watch import watch
from replica.samples.clock import latest
from replica.samples.sampler import sample_periodically
from replica.service import Service
from replica.settings import ConsumerSettings
from replica.status import metrics
from replica.tail.write import write_continuously
from service_kit.database.clock import watch as watch_clock
from service_kit.database.digests.fold import fold_periodically
from service_kit.database.engines import pooled
from service_kit.http.probes import health_routes
from service_kit.http.serving import serve_beside
from service_kit.process.tasks import end_tasks


def consume(service: Service, settings: ConsumerSettings) -> None:
    """Run until the process is told to stop, with probes and metrics over HTTP."""
    replica, engine = service.replica, pooled(settings)
    worker = Consumer(replica, settings, engine)

    async def work() -> None:
        """Run the consumer and its background tasks until the first of them ends or fails."""
        tasks = [
            asyncio.ensure_future(worker.run()),
            asyncio.ensure_future(watch(replica, settings, engine)),
            asyncio.ensure_future(prove_continuously(replica, settings, engine)),
            asyncio.ensure_future(sample_periodically(replica, settings, engine, worker.activity)),
            asyncio.ensure_future(write_continuously(engine, worker.notes)),
            asyncio.ensure_future(watch_clock(engine, latest(replica))),
            asyncio.ensure_future(fold_periodically(engine)),
            *(asyncio.ensure_future(task(settings, engine)) for task in service.tasks),
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(*tasks)
        for task in ended:
            task.result()

    longest = settings.heartbeat_seconds_max
    refresh = partial(metrics.refresh, replica, engine, heartbeat_seconds_max=longest)

    async def ready() -> str | None:
        if degraded := await worker.ready():
            return degraded
        async with engine.connect() as connection:
            return await proof.why_degraded(connection, heartbeat_seconds_max=longest)

    serve_beside(
        work(),
        health_routes(ready=ready, refresh=refresh),
        host=settings.host,
        port=settings.consumer_port,
        setting=settings.variable("consumer_port"),
        stop=worker.stop,
        stop_seconds_max=settings.drain_seconds_max,
    )
