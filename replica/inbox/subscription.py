"""Receive messages from queues, in batches.

Guarantees: a batch is available as soon as there is a message, and contains all that have arrived,
up to its limit. Only under load, where it saves transactions, it waits a moment to fill. Messages
come in the order of their delivery tags without gaps, so that one ``multiple`` acknowledgement
settles exactly one batch. A redelivered message comes alone. Messages are read as they arrive,
because the process has nothing else to do while the database works on a batch. Memory is bounded:
bodies too large for an event are dropped frame by frame as they arrive, except for a few that are
stored.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from contracts.events import Event
from contracts.events.envelope import BODY_BYTES_MAX
from replica.inbox.lenient_amqp import read_amqp_leniently
from service_kit.broker.bulk_receive import BulkReceiver
from service_kit.broker.delivery import Delivery
from service_kit.broker.seam import SeamConnection

BUSY_BATCH = 20
BUSY_PAUSE_SECONDS = 0.01
"""Under load, a batch waits a moment to fill: a transaction costs the same for thirty messages as
for three hundred. A batch this large means a backlog or two thousand events a second."""

KEPT_BYTES_MAX = 1024 * 1024
"""The largest body that is stored when parked; an event has at most ``BODY_BYTES_MAX``. A broker
accepts messages of 128 MiB by default, some up to 2 GiB."""

LARGE_BYTES_MAX = 16 * KEPT_BYTES_MAX
"""The total of bodies in memory that are larger than an event's; further ones are dropped. Prefetch
limits the number of messages; no version of RabbitMQ can limit their size."""

SUBSCRIBE_TIMEOUT_SECONDS = 10.0
"""A broker responds in milliseconds; a slower one counts as away."""


ReadAhead: TypeAlias = Callable[[Delivery], Event | None]
"""Reads the event of a message that has just arrived; None if it is to be read in its turn."""


class SubscriptionLost(ConnectionError):
    """The channel, the connection or the queue is gone; the broker requeues unsettled messages."""


class Subscription:
    """The messages of several queues, on one channel."""

    def __init__(
        self, channel: AbstractChannel, queues: Sequence[str], read_ahead: ReadAhead | None = None
    ) -> None:
        self._channel = channel
        self._queues = queues
        self._read_ahead = read_ahead
        self._read: dict[int, Event] = {}  # by delivery tag
        self._pending: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._last_tag = 0
        self._is_busy = False
        self._ended = False
        self._lost: str | None = None
        self._large_bytes = 0

    def takes(self, body_bytes: int) -> bool:
        """Tell whether to keep a body of this size in memory, and count it until it is settled."""
        if body_bytes <= BODY_BYTES_MAX:
            return True
        if body_bytes > KEPT_BYTES_MAX or self._large_bytes + body_bytes > LARGE_BYTES_MAX:
            return False
        self._large_bytes += body_bytes
        return True

    async def next_batch(self, limit: int) -> list[Delivery]:
        """Wait for the next one to ``limit`` messages; return none once the subscription has ended.

        Raises:
            SubscriptionLost: no message can arrive or be settled any more.
        """
        if self._is_busy and len(self._pending) < limit:
            await asyncio.sleep(BUSY_PAUSE_SECONDS)
        while not self._pending:
            self._idle.set()
            if self._lost:
                raise SubscriptionLost(self._lost)
            if self._ended:
                return []
            self._changed.clear()
            await self._changed.wait()
        batch = [self._pending.popleft()]
        while self._pending and len(batch) < limit and not batch[0].redelivered:
            if self._pending[0].redelivered:
                break
            batch.append(self._pending.popleft())
        self._is_busy = len(batch) >= BUSY_BATCH
        return batch

    def read(self, batch: list[Delivery]) -> list[Event | None]:
        """Hand over what was read ahead of ``batch``, for each message."""
        return [self._read.pop(delivery.tag, None) for delivery in batch]

    async def idle(self) -> None:
        """Wait until all received messages have been handed out and the next is awaited."""
        await self._idle.wait()

    async def acknowledge(self, batch: list[Delivery]) -> None:
        """Acknowledge ``batch`` and everything before it."""
        await self._channel.basic_ack(batch[-1].tag, multiple=True)
        sizes = (len(delivery.body) for delivery in batch)
        self._large_bytes -= sum(size for size in sizes if size > BODY_BYTES_MAX)

    async def end(self) -> None:
        """Stop receiving; messages already received still come as batches."""
        for queue in self._queues:
            await self._channel.basic_cancel(queue)
        self._ended = True
        self._changed.set()

    def lose(self, why: str) -> None:
        """Record that the subscription is gone, and why."""
        self._lost = self._lost or why
        self._changed.set()

    def receive(self, delivery: Delivery) -> None:
        """Receive a message, whose queue the consumer's tag names."""
        if delivery.tag != self._last_tag + 1:
            self.lose("messages came out of order")
            return
        self._last_tag = delivery.tag
        self._idle.clear()
        self._pending.append(delivery)
        if self._read_ahead is not None and (event := self._read_ahead(delivery)) is not None:
            self._read[delivery.tag] = event

    def received(self) -> None:
        """Let the next batch begin."""
        self._changed.set()

    async def arrived(self, message: DeliveredMessage) -> None:
        """Receive a message from the client library."""
        delivery = message.delivery
        assert isinstance(delivery, Basic.Deliver)  # consumers receive nothing else
        assert delivery.delivery_tag is not None  # every delivery has a tag
        self.receive(
            Delivery(
                tag=delivery.delivery_tag,
                queue=delivery.consumer_tag or "",
                redelivered=bool(delivery.redelivered),
                exchange=delivery.exchange or "",
                routing_key=delivery.routing_key or "",
                header=message.header.properties,
                body=message.body,
                dropped_bytes=(message.header.body_size or 0) - len(message.body),
            )
        )
        self.received()


@asynccontextmanager
async def subscribed(
    connection: AbstractConnection, queues: Sequence[str], read_ahead: ReadAhead, *, prefetch: int
) -> AsyncIterator[Subscription]:
    """Subscribe to ``queues``, with at most ``prefetch`` unsettled messages of each.

    Messages pass the client library through the seam (docs/decisions/0050). Without it, they come
    from the layer below aio-pika's queue, which passes the properties unchanged (aio-pika rejects
    malformed ones before our code could park the message) and costs a third less.
    """
    read_amqp_leniently()
    channel = await connection.channel(publisher_confirms=False)
    async with channel:
        await channel.set_qos(prefetch_count=prefetch)
        underlay = await channel.get_underlay_channel()
        assert isinstance(underlay, Channel)  # the library's only class of channels
        subscription = Subscription(underlay, queues, read_ahead)
        if isinstance(connection, SeamConnection):
            connection.tap(underlay.number, BulkReceiver(subscription))
        else:
            _drop_what_is_too_large(underlay, subscription)
        channel.close_callbacks.add(lambda *_: subscription.lose("the channel was closed"))
        underlay.on_consumer_cancel_callbacks.add(
            lambda *_: subscription.lose("the queue was deleted")
        )
        async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
            for queue in queues:
                await underlay.basic_consume(queue, subscription.arrived, consumer_tag=queue)
        yield subscription


def _drop_what_is_too_large(channel: Channel, subscription: Subscription) -> None:
    """Make ``channel`` read only bodies that ``subscription`` accepts; others arrive empty.

    The header comes first and has the size. The client library always collects the whole body and
    has no setting to change that.
    """
    read_whole = channel._read_content  # noqa: SLF001 - below aio-pika: docs/decisions/0006

    async def read(delivery: Any, header: ContentHeader) -> DeliveredMessage:
        size = header.body_size or 0
        if subscription.takes(size):
            return await read_whole(delivery, header)
        received = 0
        while received < size:
            frame = await channel._get_frame()  # noqa: SLF001
            if not isinstance(frame, ContentBody):
                raise ValueError(f"{frame.name} in the middle of a message")
            received += len(frame.value)
        return DeliveredMessage(delivery=delivery, header=header, body=b"", channel=channel)

    channel._read_content = read  # type: ignore[method-assign, assignment]  # noqa: SLF001
