"""The relay stores the depths of consuming services' queues, for operators."""

import asyncio

import aio_pika
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox import watch_queues as module
from auth_service.outbox.queues import read_queues
from auth_service.outbox.watch_queues import watch_queues
from local.broker import Broker
from tests.support.background import in_background
from tests.support.broker_accounts import create_vhost
from tests.support.builders import a_state, an_event
from tests.support.database_sessions import reading
from tests.support.eventually import eventually
from tests.support.inbox import Inbox
from tests.support.relaying import Pipe
from tests.support.source import LIVE, shown_depth


async def test_it_stores_the_depth_of_each_queue(
    inbox: Inbox, unbound: Pipe, broker: Broker, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready messages; a missing queue or broker has an unknown depth."""
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.2)
    await inbox.declare()
    await inbox.source.publish(*(an_event(a_state()) for _ in range(3)))

    async with in_background(watch_queues(unbound.changed(watched_queues=(LIVE, "other.users")))):
        await eventually(lambda: _is(unbound.engine, {LIVE: 3, "other.users": None}))
        assert (shown_depth(LIVE), shown_depth("other.users")) == (3, None)
        await asyncio.to_thread(broker.delete_vhost, vhost)
        await eventually(lambda: _is(unbound.engine, {LIVE: None, "other.users": None}))
        assert shown_depth(LIVE) is None
        await asyncio.to_thread(create_vhost, broker, vhost)
        async with await aio_pika.connect(broker.amqp_url(vhost)) as connection:
            await (await connection.channel()).declare_queue(LIVE, durable=True)
        await eventually(lambda: _is(unbound.engine, {LIVE: 0, "other.users": None}))

    async with in_background(watch_queues(unbound.changed(watched_queues=(LIVE,)))):
        await eventually(lambda: _is(unbound.engine, {LIVE: 0}))


async def _is(engine: AsyncEngine, expected: dict[str, int | None]) -> bool:
    found = await reading(engine, read_queues)
    return {queue.name: queue.messages for queue in found if queue.age_seconds < 2} == expected
