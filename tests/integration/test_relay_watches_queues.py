"""The relay stores the depths of consuming services' queues, for operators."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox import watch_queues as module
from auth_service.outbox.queues import read_queues
from auth_service.outbox.watch_queues import watch_queues
from auth_service.settings import RelaySettings
from blog_service.settings import ConsumerSettings
from local.broker import Broker
from service_kit.process.tasks import end_tasks
from tests.support.broker_accounts import create_vhost
from tests.support.builders import a_state, an_event
from tests.support.eventually import eventually
from tests.support.inbox import consuming
from tests.support.source import LIVE, Source


@asynccontextmanager
async def looking(settings: RelaySettings, *queues: str) -> AsyncIterator[None]:
    watching = settings.model_copy(update={"watched_queues": queues})
    task = asyncio.create_task(watch_queues(watching))
    try:
        yield
    finally:
        await end_tasks(task)


async def seen(engine: AsyncEngine) -> dict[str, int | None]:
    async with engine.connect() as connection:
        found = await read_queues(connection)
    return {queue.name: queue.messages for queue in found if queue.age_seconds < 2}


async def test_it_stores_the_depth_of_each_queue(
    source: Source,
    consumer_settings: ConsumerSettings,
    blog_engine: AsyncEngine,
    relay_settings: RelaySettings,
    auth_engine: AsyncEngine,
    broker: Broker,
    vhost: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ready messages; a missing queue or broker has an unknown depth."""
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.2)
    async with consuming(consumer_settings, blog_engine):
        pass
    await source.publish(*(an_event(a_state()) for _ in range(3)))

    async with looking(relay_settings, LIVE, "other.users"):
        await eventually(lambda: _is(auth_engine, {LIVE: 3, "other.users": None}))
        await asyncio.to_thread(broker.delete_vhost, vhost)
        await eventually(lambda: _is(auth_engine, {LIVE: None, "other.users": None}))
        await asyncio.to_thread(create_vhost, broker, vhost)
        async with await aio_pika.connect(broker.amqp_url(vhost)) as connection:
            await (await connection.channel()).declare_queue(LIVE, durable=True)
        await eventually(lambda: _is(auth_engine, {LIVE: 0, "other.users": None}))

    async with looking(relay_settings, LIVE):
        await eventually(lambda: _is(auth_engine, {LIVE: 0}))


async def _is(engine: AsyncEngine, expected: dict[str, int | None]) -> bool:
    return await seen(engine) == expected
