"""Each process has the rights on the broker that it needs, and no others."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from contracts.events import queues
from contracts.events.names import BINDINGS, EXCHANGE, REPLAY_EXCHANGE
from local.broker import Broker
from local.errors import LocalError
from tests.support.broker_accounts import CONSUMERS, as_consumer, as_relay
from tests.support.source import DEAD, LIVE, REPLAY, URGENT, Source

Step = Callable[[AbstractChannel], Awaitable[Any]]


@asynccontextmanager
async def channel_on(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(amqp_url) as connection:
        yield await connection.channel(publisher_confirms=True)


def publishing(exchange: str, key: str = "user.created") -> Step:
    async def publish(channel: AbstractChannel) -> None:
        to = (
            channel.default_exchange
            if not exchange
            else await channel.get_exchange(exchange, ensure=False)
        )
        await to.publish(aio_pika.Message(b"forged"), routing_key=key, mandatory=False)

    return publish


def reading(queue: str) -> Step:
    async def read(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).get(fail=False)

    return read


def purging(queue: str) -> Step:
    async def purge(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).purge()

    return purge


def deleting(queue: str) -> Step:
    return lambda channel: channel.queue_delete(queue)


def deleting_exchange(name: str) -> Step:
    return lambda channel: channel.exchange_delete(name)


def binding(queue: str, key: str, exchange: str = EXCHANGE) -> Step:
    async def bind(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).bind(exchange, key)

    return bind


def declaring(name: str) -> Step:
    return lambda channel: channel.declare_queue(name, durable=True)


async def dead_lettering_to_the_events(channel: AbstractChannel) -> None:
    """What a queue rejects is published to its dead-letter exchange."""
    await channel.queue_delete(URGENT)
    await channel.declare_queue(
        URGENT, durable=True, arguments={"x-dead-letter-exchange": EXCHANGE}
    )


@pytest.fixture
async def topology(source: Source) -> None:
    """The exchanges, and the queues of two services, as an administrator declares them."""
    channel = await source.connection.channel()
    for service in CONSUMERS:
        dead = queues.dead_queue(service)["name"]
        await channel.declare_exchange(dead, aio_pika.ExchangeType.FANOUT, durable=True)
        for queue in (
            queues.dead_queue(service),
            queues.live_queue(service),
            queues.urgent_queue(service),
            queues.replay_queue(service),
        ):
            await channel.declare_queue(**queue)


FORBIDDEN_TO_A_CONSUMER: dict[str, Step] = {
    "publishing an event": publishing(EXCHANGE),
    "publishing a replay": publishing(REPLAY_EXCHANGE, "blog"),
    "publishing to a queue": publishing("", LIVE),
    "publishing to another service's queue": publishing("", "newsletter.users"),
    "publishing to another's dead-letter exchange": publishing("newsletter.users.dead"),
    "reading another service's queue": reading("newsletter.users"),
    "purging another service's queue": purging("newsletter.users.dead"),
    "deleting another service's queue": deleting("newsletter.users"),
    "binding another service's queue": binding("newsletter.users", "user.*"),
    "binding what no service binds": binding(LIVE, "#"),
    "a queue of another name": declaring("blog.users.spy"),
    "dead letters to the events": dead_lettering_to_the_events,
    "deleting the exchange of events": deleting_exchange(EXCHANGE),
    "deleting the exchange of replays": deleting_exchange(REPLAY_EXCHANGE),
}

FORBIDDEN_TO_THE_RELAY: dict[str, Step] = {
    **{f"reading {queue}": reading(queue) for queue in (LIVE, URGENT, REPLAY, DEAD)},
    **{f"purging {queue}": purging(queue) for queue in (LIVE, URGENT, REPLAY, DEAD)},
    **{f"deleting {queue}": deleting(queue) for queue in (LIVE, URGENT, REPLAY, DEAD)},
    "publishing to a queue": publishing("", LIVE),
    "publishing a dead letter": publishing(DEAD),
    "binding a queue": binding(LIVE, "user.*"),
    "binding a queue to replays": binding(REPLAY, "blog", REPLAY_EXCHANGE),
    "a queue of its own": declaring("spy"),
}


@pytest.mark.usefixtures("topology")
async def test_a_consumer_may_do_nothing_beyond_its_own_queues(amqp_url: str) -> None:
    """With the blog's account, an event that makes an administrator could be published once."""
    await _all_refused(as_consumer(amqp_url), FORBIDDEN_TO_A_CONSUMER)


@pytest.mark.usefixtures("topology")
async def test_the_relay_may_read_and_remove_nothing(amqp_url: str) -> None:
    """With the relay's account, the dead-letter queue could be read and purged once."""
    await _all_refused(as_relay(amqp_url), FORBIDDEN_TO_THE_RELAY)


async def _all_refused(amqp_url: str, steps: dict[str, Step]) -> None:
    allowed = []
    for name, step in steps.items():
        async with channel_on(amqp_url) as channel:
            try:
                await step(channel)
            except ChannelAccessRefused:
                continue
            allowed.append(name)
    assert not allowed


@pytest.mark.usefixtures("topology")
async def test_each_may_do_what_its_work_takes(amqp_url: str) -> None:
    """The relay publishes and looks at queues; a consumer declares, binds, reads and removes."""
    async with channel_on(as_relay(amqp_url)) as channel:
        await publishing(EXCHANGE)(channel)
        await publishing(EXCHANGE, "a.type.of.tomorrow")(channel)
        await publishing(REPLAY_EXCHANGE, "blog")(channel)
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        await channel.declare_queue(LIVE, passive=True)
        await channel.declare_queue(REPLAY, passive=True)
    async with channel_on(as_consumer(amqp_url)) as channel:
        await channel.declare_queue(**queues.live_queue("blog"))
        for key in BINDINGS:
            await binding(LIVE, key)(channel)
        await binding(REPLAY, "blog", REPLAY_EXCHANGE)(channel)
        await publishing(DEAD)(channel)
        await reading(DEAD)(channel)
        await purging(LIVE)(channel)
        await deleting(URGENT)(channel)


@pytest.mark.usefixtures("topology")
def test_no_process_is_an_administrator(broker: Broker, vhost: str, amqp_url: str) -> None:
    """The consumer may see the limits of its queues; neither may change users or policies."""
    for url in (as_relay(amqp_url), as_consumer(amqp_url)):
        account = Broker(broker.origin, url.rpartition("/")[0], broker.management_url)
        with pytest.raises(LocalError):
            account._call("GET", "users")
        with pytest.raises(LocalError):
            account.set_policy(vhost, "strict", ".*", {"max-length": 1})
    assert account._call("GET", f"queues/{vhost}/{LIVE}")["name"] == LIVE
