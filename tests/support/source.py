"""The source's end of the broker, played by a test: it publishes events, and garbage."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from prometheus_client import REGISTRY

from contracts.events import Event
from contracts.events.envelope import encode
from contracts.events.names import EXCHANGE, REPLAY_EXCHANGE
from tests.support.eventually import eventually

LIVE = "blog.users"
URGENT = "blog.users.urgent"
REPLAY = "blog.users.replay"
DEAD = "blog.users.dead"


def shown_depth(queue: str) -> float | None:
    """Return what this process shows of a queue to Prometheus; None if it shows nothing."""
    return REGISTRY.get_sample_value("usersync_queue_depth", {"queue": queue})


class Source:
    """Publishes with confirms, on the layer below aio-pika, which accepts any property."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self.connection = connection
        self.channel = channel

    async def publish(self, *events: Event) -> None:
        """Publish ``events`` in order; all are in the queues on return."""
        await self._publish(events)

    async def replay(self, *events: Event) -> None:
        """Publish ``events`` as a replay to the blog; all are in its queue on return."""
        await self._publish(events, exchange=REPLAY_EXCHANGE, routing_key="blog")

    async def publish_raw(
        self,
        body: bytes,
        properties: Basic.Properties | None = None,
        *,
        exchange: str = EXCHANGE,
        routing_key: str = "user.updated",
    ) -> None:
        """Publish a message that may be anything but an event."""
        answer = await self.channel.basic_publish(
            body,
            exchange=exchange,
            routing_key=routing_key,
            properties=properties or Basic.Properties(delivery_mode=2),
            mandatory=True,
        )
        assert isinstance(answer, Basic.Ack), f"the broker did not take it: {answer}"

    async def ready(self, queue: str = LIVE) -> int:
        """Return how many messages of a queue are ready."""
        declared = await self.channel.queue_declare(queue, passive=True)
        return declared.message_count or 0

    async def has_ready(self, messages: int, queue: str = LIVE, *, within: float = 60.0) -> None:
        """Wait until so many messages of a queue are ready."""

        async def look() -> bool:
            found = await self.ready(queue)
            assert found == messages, f"{found} messages are ready in {queue}, not {messages}"
            return True

        await eventually(look, within=within)

    async def take(self, queue: str = LIVE) -> DeliveredMessage | None:
        """Take one message off a queue; None if it is empty."""
        message = await self.channel.basic_get(queue, no_ack=True)
        return None if isinstance(message.delivery, Basic.GetEmpty) else message

    async def take_all(self, queue: str = LIVE) -> list[DeliveredMessage]:
        messages = []
        while message := await self.take(queue):
            messages.append(message)
        return messages

    async def record(self) -> list[DeliveredMessage]:
        """Collect everything published from now on, in the broker's order."""
        queue = await self.channel.queue_declare(exclusive=True)
        assert queue.queue
        await self.channel.queue_bind(queue.queue, EXCHANGE, "#")
        messages: list[DeliveredMessage] = []

        async def take(message: DeliveredMessage) -> None:
            messages.append(message)

        await self.channel.basic_consume(queue.queue, take, no_ack=True)
        return messages

    async def _publish(self, events: Sequence[Event], **where: str) -> None:
        for start in range(0, len(events), 500):
            some = events[start : start + 500]
            await asyncio.gather(*(self._publish_event(event, **where) for event in some))

    async def _publish_event(self, event: Event, **where: str) -> None:
        message = encode(event)
        where = {"routing_key": event.type} | where
        await self.publish_raw(message.body, message.properties, **where)


@asynccontextmanager
async def source_on(
    amqp_url: str, *, declare: bool = True, replays: bool = True
) -> AsyncIterator[Source]:
    """Open the source's end of a virtual host; declare its exchanges by default."""
    connection = await aio_pika.connect(amqp_url, timeout=20)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        if declare:
            await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        if declare and replays:
            await channel.declare_exchange(
                REPLAY_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True
            )
        yield Source(connection, await channel.get_underlay_channel())
