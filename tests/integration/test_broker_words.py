"""Each fault of the broker has its own sentence with a remedy, and never shows the password."""

import asyncio
import time
from collections.abc import Awaitable

import pytest
from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractConnection

from local.broker import Broker
from service_kit.broker.connection import (
    BROKER_ERRORS,
    CONNECT_TIMEOUT_SECONDS,
    SILENCE_SECONDS_MAX,
    BrokerTrouble,
    connect,
    connected,
    in_words,
    talking,
)
from tests.support.broker_users import a_broker_user
from tests.support.in_turn import in_turn
from tests.support.system import broker_behind_a_proxy

NAME = "a test"


async def refusal(amqp_url: str) -> str:
    with pytest.raises(BrokerTrouble) as refused:
        await connect(amqp_url, name=NAME)
    return str(refused.value)


async def test_a_wrong_password_is_reported_as_one(broker: Broker, vhost: str) -> None:
    """The user is named, the password is not, and the broker does not count as away."""
    with a_broker_user(broker, vhost) as address:
        wrong = address.replace(":p@", ":mistyped-secret@")
        said = await refusal(f"{wrong}/{vhost}")
    assert "does not accept the user 'test-" in said
    assert "with this password" in said
    assert "mistyped-secret" not in said
    assert "away" not in said


async def test_a_missing_virtual_host_is_not_one_without_rights(broker: Broker, vhost: str) -> None:
    """Both come with the command that repairs them, quoted for a shell."""
    missing = await refusal(broker.amqp_url("no such"))
    with a_broker_user(broker, None) as address:
        without_rights = await refusal(f"{address}/{vhost}")
    assert missing.startswith("there is no virtual host 'no such' on the broker at 127.0.0.1:")
    assert "rabbitmqctl add_vhost 'no such'" in missing
    assert f"has no rights to the virtual host '{vhost}'" in without_rights
    assert "rabbitmqctl import_definitions" in without_rights


async def test_an_unreachable_broker_is_away(unused_port: int) -> None:
    """No process listens, or the host name is unknown: each says which."""
    for place, why in (
        (f"127.0.0.1:{unused_port}", "nothing listens at"),
        ("nosuch.invalid", "no machine is known as"),
    ):
        assert await refusal(f"amqp://{place}/") == f"the broker is away ({why} {place})"


async def test_the_next_address_is_tried_at_once(amqp_url: str, unused_port: int) -> None:
    """Nobody listens at the first address, and the second is silent as a vanished machine."""
    async with broker_behind_a_proxy(amqp_url) as (silent, through):
        silent.swallow_answers()
        urls = f"amqp://127.0.0.1:{unused_port}/ {through} {amqp_url}"
        began = time.monotonic()

        async with connected(urls, name=NAME) as connection:
            await connection.channel()

        assert time.monotonic() - began < CONNECT_TIMEOUT_SECONDS


async def test_when_no_address_works_each_has_its_reason(broker: Broker, unused_port: int) -> None:
    said = await refusal(f"amqp://127.0.0.1:{unused_port}/ {broker.amqp_url('no such')}")
    assert said.startswith(
        f"the broker is away (nothing listens at 127.0.0.1:{unused_port});"
        " there is no virtual host 'no such' on the broker at"
    )


async def test_tls_at_a_plain_port_is_reported_as_that(broker: Broker) -> None:
    said = await refusal(broker.address.replace("amqp://", "amqps://"))
    assert said.startswith("TLS with the broker at 127.0.0.1:")


async def test_missing_rights_name_the_exchange_and_the_queue(broker: Broker, vhost: str) -> None:
    with a_broker_user(broker, vhost, "^own$") as address:
        async with connected(f"{address}/{vhost}", name=NAME) as connection:
            exchange = await said_of(connection, "declare exchange")
            queue = await said_of(connection, "declare queue")
    assert "lacks rights to the exchange 'users' in the virtual host" in exchange
    assert "lacks rights to the queue 'users' in the virtual host" in queue
    assert all("rabbitmqctl import_definitions" in said for said in (exchange, queue))


async def test_a_type_mismatch_names_both_types(amqp_url: str) -> None:
    async with connected(amqp_url, name=NAME) as connection:
        channel = await connection.channel()
        await channel.declare_exchange("users", ExchangeType.DIRECT, durable=True)
        await channel.declare_queue("users", durable=True, arguments={"x-queue-type": "quorum"})

        exchange = await said_of(connection, "declare exchange")
        queue = await said_of(connection, "declare queue")

    assert "the exchange 'users' exists with another type" in exchange
    assert "received 'topic' but current is 'direct'" in exchange
    assert "the queue 'users' exists with another x-queue-type" in queue


@in_turn(
    ("asked", "beats"),
    [("", 10), ("?heartbeat=4", 4), ("?heartbeat=60", 10), ("?heartbeat=0", 10)],
)
async def test_every_connection_has_heartbeats(amqp_url: str, asked: str, beats: int) -> None:
    """An address may ask for more frequent ones, never for fewer."""
    async with connected(amqp_url + asked, name=NAME) as connection:
        assert connection.transport is not None
        underlay = connection.transport.connection
        assert underlay.connection_tune.heartbeat == beats


async def test_a_silent_broker_is_noticed_and_does_not_end_the_task(amqp_url: str) -> None:
    """Code that waits for it gets an error, not a cancellation of its own task."""
    async with broker_behind_a_proxy(amqp_url) as (proxy, through):
        connection = await connect(f"{through}?heartbeat=2", name=NAME)
        channel = await connection.channel()
        began = time.monotonic()
        proxy.swallow_answers()

        with pytest.raises(BrokerTrouble, match="it is silent"), talking():
            await channel.default_exchange.publish(Message(b""), "nowhere")

        assert time.monotonic() - began < SILENCE_SECONDS_MAX
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        await connection.close()


async def test_a_cancelled_task_stays_cancelled(amqp_url: str) -> None:
    async def wait() -> None:
        async with connected(amqp_url, name=NAME) as connection:
            waiting.set()
            await connection.closed()

    waiting = asyncio.Event()
    task = asyncio.ensure_future(wait())
    await waiting.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def said_of(connection: AbstractConnection, what: str) -> str:
    channel = await connection.channel()
    declaring: Awaitable[object] = (
        channel.declare_exchange("users", ExchangeType.TOPIC, durable=True)
        if what == "declare exchange"
        else channel.declare_queue("users", durable=True)
    )
    try:
        await declaring
    except BROKER_ERRORS as error:
        return in_words(error)
    raise AssertionError(f"the broker let us {what}")
