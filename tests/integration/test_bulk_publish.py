"""Publishing in bulk: each message gets its own outcome, in any order of answers."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aio_pika
import aiormq
import pamqp.frame
import pytest
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from aiormq.connection import TCPTransportFactory
from pamqp.commands import Basic, Connection
from pamqp.commands import Channel as ChannelMethods
from pamqp.header import ContentHeader

from local.broker import Broker
from service_kit.broker.bulk_publish import WRITE_BYTES_MAX, Answer, BulkPublisher
from service_kit.broker.connection import BrokerTrouble, connect, connected
from service_kit.broker.frames import body_frames
from service_kit.broker.seam import SeamConnection
from tests.support.eventually import eventually
from tests.support.scripted_broker import ScriptedBroker, scripted_broker
from tests.support.system import broker_behind_a_proxy
from tests.support.tls import server_context

NAME = "a test"
CONFIRMED, RETURNED, NACKED, UNCONFIRMED = Answer


class Bulk:
    """A channel that publishes in bulk, and what a test needs around it."""

    def __init__(self, connection: SeamConnection, channel: Channel) -> None:
        self.connection = connection
        self.channel = channel
        self.publisher = BulkPublisher(connection, channel)

    def message(self, key: str, body: bytes, message_id: str, exchange: str = "") -> bytes:
        properties = Basic.Properties(message_id=message_id, delivery_mode=2)
        header = ContentHeader(properties=properties, body_size=len(body))
        publish = Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
        number = self.channel.number
        head = b"".join(pamqp.frame.marshal(frame, number) for frame in (publish, header))
        return head + body_frames(number, body, self.channel.max_content_size)

    async def publish(
        self,
        keys: Sequence[str],
        body: bytes = b"{}",
        *,
        exchange: str = "",
        timeout_seconds: float = 10,
    ) -> list[Answer]:
        """Publish one message for each key."""
        ids = [str(uuid4()) for _ in keys]
        named = zip(keys, ids, strict=True)
        messages = [self.message(key, body, name, exchange) for key, name in named]
        return await self.publisher.publish(messages, ids, timeout_seconds=timeout_seconds)

    def buffered_bytes(self) -> int:
        """What waits for the socket."""
        reader = self.connection._transports.reader
        assert reader is not None
        size: int = reader._transport.get_write_buffer_size()  # type: ignore[attr-defined]
        return size


@asynccontextmanager
async def bulk_to(amqp_url: str) -> AsyncIterator[Bulk]:
    async with connected(amqp_url, name=NAME, bulk=True) as connection:
        assert isinstance(connection, SeamConnection)
        yield await another_channel(connection)


async def another_channel(connection: SeamConnection) -> Bulk:
    channel = await (await connection.channel()).get_underlay_channel()
    assert isinstance(channel, Channel)
    return Bulk(connection, channel)


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[ScriptedBroker, Bulk]]:
    async with scripted_broker() as broker, bulk_to(f"amqp://127.0.0.1:{broker.port}/") as bulk:
        yield broker, bulk


@pytest.fixture
async def bulk(amqp_url: str) -> AsyncIterator[Bulk]:
    async with bulk_to(amqp_url) as bulk:
        await bulk.channel.queue_declare("here", durable=True)
        yield bulk


async def test_a_thousand_messages_are_confirmed_in_order(bulk: Bulk) -> None:
    ids = [str(number) for number in range(1000)]
    messages = [bulk.message("here", each.encode(), each) for each in ids]

    answers = await bulk.publisher.publish(messages, ids, timeout_seconds=10)

    assert answers == [CONFIRMED] * 1000
    arrived = [(await bulk.channel.basic_get("here", no_ack=True)).body for _ in ids[:50]]
    assert arrived == [each.encode() for each in ids[:50]]


async def test_returned_messages_of_many_frames_are_told_apart(bulk: Bulk) -> None:
    """Their bodies come back in as many frames, between the confirms of others."""
    body = bytes(300 * 1024)

    answers = await bulk.publish(["here", "nowhere", "here", "nowhere", "nowhere", "here"], body)
    empty = await bulk.publish(["nowhere", "here"], b"")

    assert answers == [CONFIRMED, RETURNED, CONFIRMED, RETURNED, RETURNED, CONFIRMED]
    assert empty == [RETURNED, CONFIRMED]
    assert not bulk.publisher._returns.ids


async def test_refused_messages_are_told_apart(bulk: Bulk, broker: Broker, vhost: str) -> None:
    """A full queue refuses some; the others are confirmed, and later ones are counted again."""
    broker.set_policy(vhost, "full", "^here$", {"max-length": 2, "overflow": "reject-publish"})

    async def is_full() -> bool:
        return NACKED in await bulk.publish(["here"])

    await eventually(is_full)
    await bulk.channel.queue_declare("other")

    answers = await bulk.publish(["other", "here", "nowhere", "other", "here"])

    assert answers == [CONFIRMED, NACKED, RETURNED, CONFIRMED, NACKED]


async def test_confirms_of_every_kind_in_any_order() -> None:
    async with scripted() as (broker, bulk):
        publishing = asyncio.create_task(bulk.publish(["k"] * 8))
        await eventually(lambda: broker.count(Basic.Publish) == 8)
        number = bulk.channel.number

        broker.send(number, Basic.Ack(3), Basic.Nack(5), Basic.Nack(2, multiple=True))
        broker.send(number, Basic.Ack(99), Basic.Ack(7, multiple=True), Basic.Nack(5))
        broker.send(number, Basic.Nack(0, multiple=True))

        first, second = [NACKED, NACKED, CONFIRMED, CONFIRMED], [NACKED, CONFIRMED, CONFIRMED]
        assert await publishing == [*first, *second, NACKED]


async def test_a_lost_connection_ends_a_publish_at_once(amqp_url: str) -> None:
    """What was confirmed before stays confirmed, and later publishes fail without waiting."""
    async with broker_behind_a_proxy(amqp_url) as (proxy, url), bulk_to(url) as bulk:
        await bulk.channel.queue_declare("here")
        assert await bulk.publish(["here"]) == [CONFIRMED]
        proxy.swallow_answers()
        publishing = asyncio.create_task(bulk.publish(["here"] * 3, timeout_seconds=60))
        await eventually(lambda: bulk.publisher._confirms.next_tag == 5)
        began = time.monotonic()

        proxy.cut()

        assert await publishing == [UNCONFIRMED] * 3
        assert await bulk.publish(["here"], timeout_seconds=60) == [UNCONFIRMED]
    assert time.monotonic() - began < 10


async def test_a_wave_that_was_written_in_part_is_unconfirmed(amqp_url: str) -> None:
    """The connection dies while most of it waits for the socket, which takes only so much."""
    async with broker_behind_a_proxy(amqp_url) as (proxy, url), bulk_to(url) as bulk:
        await bulk.channel.queue_declare("here")
        proxy.swallow_requests()
        body = bytes(1024 * 1024)
        publishing = asyncio.create_task(bulk.publish(["here"] * 64, body, timeout_seconds=60))

        await eventually(lambda: bulk.buffered_bytes() > 0)
        most = 0
        for _ in range(50):
            await asyncio.sleep(0.01)
            most = max(most, bulk.buffered_bytes())
        proxy.cut()

        assert await publishing == [UNCONFIRMED] * 64
        assert most < 3 * WRITE_BYTES_MAX


async def test_a_silent_broker_ends_a_publish_at_its_time_limit(amqp_url: str) -> None:
    async with broker_behind_a_proxy(amqp_url) as (proxy, url), bulk_to(url) as bulk:
        await bulk.channel.queue_declare("here")
        proxy.swallow_requests()
        proxy.swallow_answers()
        began = time.monotonic()

        small = await bulk.publish(["here"] * 3, timeout_seconds=0.5)
        large = await bulk.publish(["here"] * 64, bytes(1024 * 1024), timeout_seconds=0.5)

        assert set(small + large) == {UNCONFIRMED}
        assert 0.9 < time.monotonic() - began < 10
        proxy.cut()


async def test_late_confirms_are_not_taken_for_those_of_later_messages() -> None:
    """After a publish that timed out, the next messages still get their own outcomes."""
    async with scripted() as (broker, bulk):
        assert await bulk.publish(["k"] * 2, timeout_seconds=0.1) == [UNCONFIRMED] * 2
        publishing = asyncio.create_task(bulk.publish(["k"] * 2))
        await eventually(lambda: broker.count(Basic.Publish) == 4)

        broker.send(bulk.channel.number, Basic.Nack(2, multiple=True), Basic.Ack(4, multiple=True))

        assert await publishing == [CONFIRMED] * 2


async def test_a_late_return_is_not_taken_for_that_of_the_next_try() -> None:
    """A message that is published again has the same id."""
    async with scripted() as (broker, bulk):
        number = bulk.channel.number
        message = bulk.message("k", b"", "m")
        publish = bulk.publisher.publish
        assert await publish([message], ["m"], timeout_seconds=0.1) == [UNCONFIRMED]
        broker.send(
            number,
            Basic.Return(312, "NO_ROUTE", "", "k"),
            ContentHeader(properties=Basic.Properties(message_id="m")),
            Basic.Ack(1),
        )
        await eventually(lambda: bulk.publisher._confirms.is_answered(1))

        publishing = asyncio.create_task(publish([message], ["m"], timeout_seconds=10))
        await eventually(lambda: broker.count(Basic.Publish) == 2)
        broker.send(number, Basic.Ack(2))

        assert await publishing == [CONFIRMED]


async def test_a_publish_that_ends_leaves_the_refusals_of_another() -> None:
    """They share a channel, and the later one has the shorter time limit."""
    async with scripted() as (broker, bulk):
        first = asyncio.create_task(bulk.publish(["k"] * 2))
        await eventually(lambda: broker.count(Basic.Publish) == 2)
        second = asyncio.create_task(bulk.publish(["k"], timeout_seconds=0.5))
        await eventually(lambda: broker.count(Basic.Publish) == 3)

        broker.send(bulk.channel.number, Basic.Nack(1))
        assert await second == [UNCONFIRMED]
        broker.send(bulk.channel.number, Basic.Ack(2))

        assert await first == [NACKED, CONFIRMED]


async def test_a_channel_closed_by_the_broker_ends_a_publish_at_once(bulk: Bulk) -> None:
    """The tap goes with the channel: its number then belongs to one that the library reads."""
    began = time.monotonic()

    answers = await bulk.publish(["k"] * 3, exchange="missing", timeout_seconds=60)

    assert answers == [UNCONFIRMED] * 3
    assert time.monotonic() - began < 10
    assert await bulk.publish(["here"], timeout_seconds=60) == [UNCONFIRMED]
    plain = await bulk.connection.channel()
    assert plain.number == bulk.channel.number
    await plain.default_exchange.publish(aio_pika.Message(b""), "here", timeout=5)


async def test_the_number_of_a_closed_channel_can_be_used_again(bulk: Bulk) -> None:
    await bulk.channel.close()
    plain = await bulk.connection.channel()
    await plain.default_exchange.publish(aio_pika.Message(b""), "here", timeout=5)
    await plain.close()
    again = await another_channel(bulk.connection)

    assert plain.number == again.channel.number == bulk.channel.number
    assert await again.publish(["here", "nowhere"]) == [CONFIRMED, RETURNED]


@pytest.mark.parametrize(
    ("number", "stop", "go_on"),
    [
        (0, Connection.Blocked("low on memory"), Connection.Unblocked()),
        (1, ChannelMethods.Flow(False), ChannelMethods.Flow(True)),
    ],
    ids=["connection.blocked", "channel.flow"],
)
async def test_nothing_is_sent_while_the_broker_wants_nothing(
    number: int, stop: Connection.Blocked, go_on: Connection.Unblocked
) -> None:
    async with scripted() as (broker, bulk):
        broker.send(number, stop)
        await asyncio.sleep(0.1)

        assert await bulk.publish(["k"], timeout_seconds=0.2) == [UNCONFIRMED]
        assert broker.count(Basic.Publish) == 0
        publishing = asyncio.create_task(bulk.publish(["k"]))
        broker.send(number, go_on)
        await eventually(lambda: broker.count(Basic.Publish) == 1)
        broker.send(bulk.channel.number, Basic.Ack(1))

        assert await publishing == [CONFIRMED]
        assert broker.count(ChannelMethods.FlowOk) == 2 * number


async def test_the_connection_lives_while_only_confirms_come() -> None:
    """A broker sends no heartbeats while it sends anything else; without either it is away."""
    async with scripted_broker() as broker:
        url = f"amqp://127.0.0.1:{broker.port}/?heartbeat=1"
        async with bulk_to(url) as bulk:
            end = time.monotonic() + 4  # twice what the library waits
            while time.monotonic() < end:
                broker.send(bulk.channel.number, Basic.Ack(1))
                await asyncio.sleep(0.05)
            assert not bulk.channel.is_closed

            await eventually(lambda: bulk.channel.is_closed, within=10)


async def test_an_error_in_a_tap_ends_the_connection() -> None:
    """A returned message without a readable header, for instance: no confirm could be trusted."""
    async with scripted() as (broker, bulk):
        publishing = asyncio.create_task(bulk.publish(["k"], timeout_seconds=60))
        await eventually(lambda: broker.count(Basic.Publish) == 1)

        broker.send(bulk.channel.number, Basic.Return(312, "NO_ROUTE", "", "k"))
        broker.send_bytes(b"\x02\x00\x01\x00\x00\x00\x02xx\xce")
        broker.send(bulk.channel.number, Basic.Ack(1))

        assert await publishing == [UNCONFIRMED]
        assert bulk.channel.is_closed


async def test_nothing_is_taken_after_an_error_in_a_tap() -> None:
    """The error names the type of its cause: the cause itself may quote a message."""
    async with scripted() as (_, bulk):
        tap = Failing()
        bulk.connection.tap(bulk.channel.number, tap)
        reader = bulk.connection._transports.reader
        assert reader is not None
        ack = pamqp.frame.marshal(Basic.Ack(1), bulk.channel.number)

        reader.feed_data(ack + ack[:3])
        reader.feed_data(ack)

        assert tap.takes == 1
        error = reader.exception()
        assert isinstance(error, ConnectionError)
        assert str(error) == "a tap failed: ValueError"
        assert isinstance(error.__cause__, ValueError)
        await eventually(lambda: bulk.channel.is_closed)


async def test_a_connection_cut_inside_a_frame_ends_a_publish_at_once() -> None:
    """Its close completes: the end of the stream is told twice, the rest of the frame once."""
    async with scripted() as (broker, bulk):
        closed = asyncio.Event()
        bulk.connection.close_callbacks.add(lambda *_: closed.set())
        publishing = asyncio.create_task(bulk.publish(["k"], timeout_seconds=60))
        await eventually(lambda: broker.count(Basic.Publish) == 1)

        broker.send_bytes(pamqp.frame.marshal(Basic.Ack(1), bulk.channel.number)[:9])
        broker.end()

        async with asyncio.timeout(5):
            assert await publishing == [UNCONFIRMED]
            await closed.wait()
        assert bulk.channel.is_closed


async def test_tls_works_and_is_verified(tmp_path: Path) -> None:
    server, certificate = server_context(tmp_path, "127.0.0.1")
    async with scripted_broker(server) as broker:
        url = f"amqps://127.0.0.1:{broker.port}/"
        async with bulk_to(f"{url}?cafile={certificate}") as bulk:
            publishing = asyncio.create_task(bulk.publish(["k"] * 3))
            await eventually(lambda: broker.count(Basic.Publish) == 3)
            broker.send(bulk.channel.number, Basic.Ack(3, multiple=True))
            assert await publishing == [CONFIRMED] * 3
        with pytest.raises(BrokerTrouble, match=r"TLS with the broker at .* fails"):
            await connect(url, name=NAME, bulk=True)


async def test_the_seam_changes_no_error_of_connecting(broker: Broker, unused_port: int) -> None:
    for url in (
        f"amqp://127.0.0.1:{unused_port}/",
        broker.address.replace("amqp://", "amqps://"),
        broker.amqp_url("no such"),
        broker.management_url.replace("http://", "amqp://"),
    ):
        said = []
        for bulk in (False, True):
            with pytest.raises(BrokerTrouble) as refused:
                await connect(url, name=NAME, bulk=bulk)
            said.append(str(refused.value))
        assert said[0] == said[1]


async def test_the_library_has_the_insides_that_the_seam_relies_on(amqp_url: str) -> None:
    """If this fails after an upgrade: see the docstrings of ``seam`` and ``bulk_publish``."""
    assert "transport_factory" in inspect.signature(aiormq.Connection).parameters
    create = inspect.signature(TCPTransportFactory.create).parameters
    assert list(create) == ["self", "url", "kwargs"], "what a transport factory is called with"
    async with connected(amqp_url, name=NAME, bulk=True) as connection:
        assert isinstance(connection, SeamConnection)
        assert isinstance(connection.kwargs, dict), "aio_pika.Connection.kwargs"
        assert connection._transports.reader is not None, "the transport factory was not called"
        channel = await (await connection.channel()).get_underlay_channel()
        assert isinstance(channel, Channel)
        assert isinstance(channel.number, int)
        assert isinstance(channel.max_content_size, int)
        assert isinstance(channel.write_queue, asyncio.Queue)
        assert not channel.closing.done()
        assert channel.closing is not channel.closing, "cancelling it must not close the channel"
        fields = ["payload", "should_close", "drain_future"]
        assert list(ChannelFrame.__dataclass_fields__) == fields
        drained = asyncio.get_running_loop().create_future()
        await channel.write_queue.put(ChannelFrame(b"", False, drained))
        await asyncio.wait_for(drained, 5)
        assert connection.transport is not None
        await asyncio.wait_for(connection.transport.ready(), 5)


class Failing:
    """A tap that cannot read what it gets."""

    def __init__(self) -> None:
        self.takes = 0

    def take(self, kind: int, payload: bytes) -> bool:
        self.takes += 1
        raise ValueError(f"unreadable: {kind} {payload!r}")

    def taken(self) -> None:
        """Nothing to act on."""
