"""Relay and consumer together: after deletions at the broker, users arrive again within 30 s."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from contracts.events.names import EXCHANGE, REPLAY_EXCHANGE, USER_BINDING
from local.broker import Broker
from tests.end_to_end.conftest import Running
from tests.support.auth_api import signed_up
from tests.support.broker_accounts import create_vhost
from tests.support.eventually import eventually
from tests.support.settled import figure
from tests.support.source import DEAD, LIVE, Source, source_on

BACK_SECONDS_MAX = 30.0


async def test_users_arrive_again(running: Running, broker: Broker, vhost: str) -> None:
    deletions: list[Callable[[Source], Awaitable[object]]] = [
        lambda source: source.channel.exchange_delete(EXCHANGE),
        lambda source: source.channel.queue_unbind(LIVE, EXCHANGE, USER_BINDING),
        lambda source: _both(source, REPLAY_EXCHANGE, DEAD),
        lambda source: source.channel.queue_delete(LIVE),
    ]
    for number, delete in enumerate(deletions):
        async with source_on(running.system.amqp_url, declare=False) as source:
            await delete(source)
        await _arrives(running, f"user{number}@example.org")

    await asyncio.to_thread(broker.delete_vhost, vhost)
    await asyncio.to_thread(create_vhost, broker, vhost)
    await _arrives(running, "last@example.org")

    async with source_on(running.system.amqp_url, declare=False) as source:
        for exchange in (EXCHANGE, REPLAY_EXCHANGE, DEAD):
            await source.channel.exchange_declare(exchange, passive=True)


async def _both(source: Source, *exchanges: str) -> None:
    for exchange in exchanges:
        await source.channel.exchange_delete(exchange)


async def _arrives(running: Running, email: str) -> None:
    user_id = UUID((await signed_up(running.auth, email))["user"]["id"])

    async def is_there() -> bool:
        query = f"SELECT count(*) FROM users WHERE id = '{user_id}' AND version > 0"
        assert await figure(running.system.blog_url, query) == 1, f"{email} is not there"
        return True

    await eventually(is_there, within=BACK_SECONDS_MAX, every=0.2)
