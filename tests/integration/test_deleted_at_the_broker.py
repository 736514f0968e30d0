"""Everything deleted at the broker while a consumer runs is restored within seconds."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aio_pika import ExchangeType
from aio_pika.exceptions import AMQPError
from aiormq.abc import AbstractChannel

from contracts.events.envelope import encode
from contracts.events.names import EXCHANGE, REPLAY_EXCHANGE, USER_BINDING
from local.broker import Broker
from replica.inbox import consumer as consumer_module
from tests.support.broker_accounts import create_vhost
from tests.support.builders import a_state, an_event
from tests.support.eventually import eventually
from tests.support.inbox import Inbox
from tests.support.source import DEAD, LIVE, REPLAY, Source, source_on

PROBE = an_event(a_state())

Delete = Callable[[AbstractChannel], Awaitable[object]]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators are promised ten seconds; a test need not wait so long."""
    monkeypatch.setattr(consumer_module, "DECLARE_EVERY_SECONDS", 1.0)


async def _replaced(channel: AbstractChannel, exchange: str, kind: ExchangeType) -> None:
    """Delete an exchange, and declare it again without its bindings."""
    await channel.exchange_delete(exchange)
    await channel.exchange_declare(exchange=exchange, exchange_type=kind.value, durable=True)


DELETED: dict[str, Delete] = {
    "exchange": lambda channel: _replaced(channel, EXCHANGE, ExchangeType.TOPIC),
    "replays": lambda channel: _replaced(channel, REPLAY_EXCHANGE, ExchangeType.DIRECT),
    "binding": lambda channel: channel.queue_unbind(LIVE, EXCHANGE, USER_BINDING),
    "binding of replays": lambda channel: channel.queue_unbind(REPLAY, REPLAY_EXCHANGE, "blog"),
    "queue": lambda channel: channel.queue_delete(LIVE),
    "queue of replays": lambda channel: channel.queue_delete(REPLAY),
    "dead-letter exchange": lambda channel: channel.exchange_delete(DEAD),
    "dead-letter queue": lambda channel: channel.queue_delete(DEAD),
}


async def test_a_deleted_object_is_declared_again(inbox: Inbox) -> None:
    """Live events, replays and dead letters are routed again; what still works is not disturbed."""
    async with inbox.consuming():
        for number, (deleted, delete) in enumerate(DELETED.items(), start=1):
            print(f"deleted: {deleted}")
            await delete(inbox.source.channel)
            await eventually(lambda: _routes(inbox.source), within=10, every=0.2)
            await inbox.source.publish(an_event(a_state()))
            await inbox.source.replay(an_event(a_state()))
            await inbox.source.publish_raw(b"given up", exchange=DEAD)
            await inbox.has_applied(2 * number + 1)


async def test_a_deleted_virtual_host_is_used_again(
    inbox: Inbox, amqp_url: str, broker: Broker, vhost: str
) -> None:
    """It comes back empty; the consumer declares its own objects, and waits for the source's."""
    async with inbox.consuming():
        await asyncio.to_thread(broker.delete_vhost, vhost)
        await asyncio.to_thread(create_vhost, broker, vhost)
        async with source_on(amqp_url) as source:
            await eventually(lambda: _routes(source), within=20, every=0.2)
            await source.publish(an_event(a_state()))
            await inbox.has_applied(2)


async def _routes(source: Source) -> bool:
    probe = encode(PROBE)
    for exchange, key in ((EXCHANGE, PROBE.type), (REPLAY_EXCHANGE, "blog"), (DEAD, "")):
        try:
            await source.publish_raw(
                probe.body, probe.properties, exchange=exchange, routing_key=key
            )
        except AMQPError as error:
            channel = await source.connection.channel(publisher_confirms=True)
            source.channel = await channel.get_underlay_channel()
            raise AssertionError(f"{exchange} does not route") from error
    return True
