"""Test the blog's queues: declared as designed, and checked at each start."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aio_pika import ExchangeType
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from contracts.events import Beat
from local.broker import Broker
from replica.inbox.consumer import Consumer
from replica.inbox.topology import WrongTopology, bind_replays, declare, depths
from tests.support.broker_accounts import as_consumer
from tests.support.builders import a_state, an_event
from tests.support.eventually import eventually
from tests.support.inbox import has_applied, is_consuming
from tests.support.processes import run
from tests.support.source import DEAD, LIVE, REPLAY, URGENT, Source, source_on


async def test_queues_and_bindings_are_declared_as_designed(
    source: Source, broker: Broker, vhost: str
) -> None:
    await declare(source.connection, USERS.queues)
    is_bound = await bind_replays(source.connection, USERS.queues)

    things = ("queues", "bindings", "exchanges")
    queues, bound, exchanges = (_management(broker, f"{what}/{vhost}") for what in things)
    by_name = {queue["name"]: queue for queue in queues}
    places = ("source", "destination", "routing_key")
    bindings = {tuple(each[name] for name in places) for each in bound if each["source"]}
    [dead] = [exchange for exchange in exchanges if exchange["name"] == DEAD]
    arguments = QUORUM | {
        "x-delivery-limit": 1_000,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    assert is_bound
    assert by_name.keys() == {LIVE, URGENT, REPLAY, DEAD}
    assert all(queue["durable"] for queue in queues)
    assert by_name[LIVE]["arguments"] == arguments
    assert by_name[REPLAY]["arguments"] == {**arguments, "x-max-length": 100_000}
    limit = {"x-max-length": 10_000, "x-overflow": "drop-head"}
    assert by_name[URGENT]["arguments"] == QUORUM | limit
    assert by_name[DEAD]["arguments"] == QUORUM
    assert (dead["type"], dead["durable"]) == ("fanout", True)
    assert bindings == {
        *(("users", LIVE, key) for key in ("user.*", "sync.heartbeat", "key.*", "service.*")),
        ("users", URGENT, "urgent"),
        ("users.replay", REPLAY, "blog"),
        (DEAD, DEAD, DEAD),
    }


async def test_declaring_again_changes_nothing(source: Source) -> None:
    """Before the first consumer there is no depth, and asking declares no queue."""
    missing = dict.fromkeys((LIVE, URGENT, REPLAY, DEAD))
    for _ in range(2):
        assert await depths(source.connection, USERS.queues) == missing
    await declare(source.connection, USERS.queues)
    await source.publish(an_event(a_state()), an_event(Beat(number=1)))
    await source.publish_raw(b"{}", routing_key="user.promoted")  # a type that is unknown
    await declare(source.connection, USERS.queues)
    assert await depths(source.connection, USERS.queues) == {LIVE: 3, URGENT: 0, REPLAY: 0, DEAD: 0}


async def test_a_missing_live_queue_is_reported(source: Source) -> None:
    told: list[int | None] = []

    async def queue_lost() -> None:
        told.append((await depths(source.connection, USERS.queues))[LIVE])

    await declare(source.connection, USERS.queues, queue_lost=queue_lost)
    await declare(source.connection, USERS.queues, queue_lost=queue_lost)

    assert told == [None, 0]


QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}
WRONG: list[tuple[str, dict[str, Any] | None]] = [
    (LIVE, {}),
    (LIVE, QUORUM | {"x-delivery-limit": 5}),
    (DEAD, {}),
    (DEAD, None),
    (REPLAY, QUORUM),
]
"""Queues with other arguments, and (None) the exchange of dead letters with another type."""


async def test_a_wrong_queue_stops_the_start_with_an_error(
    source: Source, blog_url: str, amqp_url: str, unused_port: int, tmp_path: Path
) -> None:
    """The last one as the consumer's process says it."""
    channel = await source.connection.channel()
    for name, arguments in WRONG:
        await channel.exchange_delete(DEAD)
        for queue in (LIVE, REPLAY, DEAD):
            await channel.queue_delete(queue)
        if arguments is None:
            await channel.declare_exchange(name, ExchangeType.DIRECT, durable=True)
        else:
            await channel.declare_queue(name, durable=True, arguments=arguments)

        with pytest.raises(WrongTopology, match=rf"^{name} exists on the broker.*rabbitmqctl"):
            await declare(source.connection, USERS.queues)

    environment = {"BLOG_DATABASE_URL": blog_url, "BLOG_AMQP_URL": as_consumer(amqp_url)}
    environment["BLOG_CONSUMER_PORT"] = str(unused_port)
    ended = await asyncio.to_thread(run, "blog-service consumer", environment, tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{REPLAY} exists on the broker")
    assert "start them again" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_missing_source_is_waited_for_passively(
    consumer_settings: ConsumerSettings, blog_engine: AsyncEngine, broker: Broker, vhost: str
) -> None:
    """Without the source's exchange a consumer declares only its own queues, and waits."""
    consumer = Consumer(USERS, consumer_settings, blog_engine)
    running = asyncio.create_task(consumer.run())
    await eventually(lambda: _has_queue(broker, vhost))
    exchanges = {exchange["name"] for exchange in _management(broker, f"exchanges/{vhost}")}
    was_consuming = await is_consuming(consumer)

    async with source_on(broker.amqp_url(vhost)) as source:
        await eventually(lambda: is_consuming(consumer))
        await source.publish(an_event(a_state()))
        await eventually(lambda: has_applied(blog_engine, 1))
    consumer.stop()
    await running

    assert "users" not in exchanges
    assert not was_consuming


async def _has_queue(broker: Broker, vhost: str) -> bool:
    return await asyncio.to_thread(broker.queue_depth, vhost, REPLAY) is not None


def _management(broker: Broker, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = broker._call("GET", path)
    return found
