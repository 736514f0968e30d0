"""The process ``blog-service consumer``: the replica's consumer and its background tasks."""

import asyncio
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.erasure.sweep import sweep_continuously
from blog_service.settings import ConsumerSettings
from replica.inbox.consumer import Consumer
from replica.reconcile.watch import watch
from replica.samples.clock import LATEST
from replica.samples.sampler import sample_periodically
from replica.status import metrics
from service_kit.database.clock import watch as watch_clock
from service_kit.database.engines import pooled
from service_kit.http.probes import health_routes
from service_kit.http.serving import serve_beside
from service_kit.process.tasks import end_tasks
from service_kit.processes import start


def run() -> None:
    """Run the process until it is asked to end."""
    settings = start(ConsumerSettings, "consumer")
    engine = pooled(settings)
    consumer = Consumer(settings, engine)
    serve_beside(
        _work(consumer, settings, engine),
        health_routes(ready=consumer.ready, refresh=partial(metrics.refresh, engine)),
        host=settings.host,
        port=settings.consumer_port,
        setting=settings.variable("consumer_port"),
        stop=consumer.stop,
        stop_seconds_max=settings.drain_seconds_max,
    )


async def _work(consumer: Consumer, settings: ConsumerSettings, engine: AsyncEngine) -> None:
    """Run the consumer and its background tasks until the first of them ends or fails."""
    tasks = [
        asyncio.ensure_future(consumer.run()),
        asyncio.ensure_future(watch(settings, engine)),
        asyncio.ensure_future(sweep_continuously(settings, engine)),
        asyncio.ensure_future(sample_periodically(settings, engine, consumer.activity)),
        asyncio.ensure_future(watch_clock(engine, LATEST)),
    ]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(*tasks)
    for task in ended:
        task.result()
