"""Publish events to RabbitMQ, and report the outcome of each.

Step 3 of 6: the last code of ours before the broker; the relay and replays share it.

Guarantees: messages are persistent, ``mandatory`` and confirmed. Every publish ends within the
timeout. An event that is not CONFIRMED may or may not have arrived, and must be published again.
Events are sent in bulk (``service_kit.broker.bulk_publish``, docs/decisions/0050), or one by one
through the client library, with the same outcomes.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from itertools import compress
from typing import Final
from uuid import UUID

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.channel import Channel

from auth_service.outbox.rendering import Renderer
from contracts.events.envelope import StoredEvent, encode_stored
from contracts.events.names import EXCHANGE, EXCHANGE_TYPES
from contracts.traceparent import is_sampled
from service_kit.broker.bulk_publish import BulkPublisher
from service_kit.broker.connection import BROKER_ERRORS, connected, talking
from service_kit.broker.queue_depths import has_queue
from service_kit.broker.seam import SeamConnection
from service_kit.broker.tracing import Server, server_of, step
from service_kit.process import tracing
from service_kit.process.tracing.steps import Step

ROUTING_KEY_BYTES_MAX: Final = 255
"""AMQP stores the length in one byte."""

BODY_BYTES_MAX: Final = 1024 * 1024
"""Every broker accepts this size by default, and consumers park far smaller messages. Above its
limit a broker closes the channel, which fails every other event in flight."""

DECLARE_TIMEOUT_SECONDS: Final = 5.0
"""A broker that is up responds in milliseconds; a silent one counts as away."""


class Outcome(StrEnum):
    """The outcome of a publish: the ``result`` label of ``usersync_relay_published_total``.

    RETURNED: no queue is bound. NACKED: a queue refused, because it is full. UNCONFIRMED: no
    confirm in time, or the connection is lost. UNSENDABLE: no broker would accept it.
    """

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    UNCONFIRMED = "unconfirmed"
    UNSENDABLE = "unsendable"


class Publisher:
    """Publishes events of one source to one exchange."""

    def __init__(
        self,
        connection: AbstractConnection,
        channel: AbstractChannel,
        to: str,
        *,
        source: str,
        timeout_seconds: float,
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._to = to
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._exchanges: dict[str, AbstractExchange] = {}
        self._bulk: _Bulk | None = None

    async def open(self) -> None:
        """Prepare to publish, in bulk if the connection allows it, and ``declare``."""
        channel = await self._channel.get_underlay_channel()
        if isinstance(self._connection, SeamConnection):
            assert isinstance(channel, Channel)  # the library's only class of channels
            self._bulk = _Bulk(
                BulkPublisher(self._connection, channel),
                Renderer(
                    source=self._source,
                    exchange=self._to,
                    channel=channel.number,
                    body_bytes_max=_frame_body_bytes_max(channel),
                ),
            )
        await self.declare()

    async def declare(self) -> None:
        """Declare both of the source's exchanges; idempotent.

        Consumers wait for both. The next call restores one that was deleted on the broker.

        Raises:
            BROKER_ERRORS: the broker is away, silent or refuses, or an exchange has another type.
        """
        for name, kind in EXCHANGE_TYPES.items():
            self._exchanges[name] = await self._channel.declare_exchange(
                name, kind, durable=True, timeout=DECLARE_TIMEOUT_SECONDS
            )

    async def has_queue(self, name: str) -> bool:
        """Return whether the broker has a queue of this name, bound or not.

        Raises:
            BROKER_ERRORS: the broker is away, silent or refuses.
        """
        return await has_queue(self._connection, name)

    async def publish(
        self, events: Sequence[StoredEvent], *, routing_key: str | None = None
    ) -> list[Outcome]:
        """Publish ``events``, all in flight at once, and wait for the outcome of each.

        Parameters:
            events: the events to publish.
            routing_key: the key of all of them; by default the type of each.
        """
        keyed = [(event, routing_key or event.type) for event in events]
        sendable = [_is_sendable(*each) for each in keyed]
        publish = self._publish_one_by_one if self._bulk is None else self._bulk.publish
        began = time.time_ns()
        found = iter(await publish(list(compress(keyed, sendable)), self._timeout_seconds))
        outcomes = [next(found) if each else Outcome.UNSENDABLE for each in sendable]
        # A replay is not part of the request that once caused the event.
        if (recorder := tracing.current()) is not None and self._to == EXCHANGE:
            steps = _sampled_steps(keyed, outcomes, server_of(self._connection))
            recorder.handled(steps, began=began)
        return outcomes

    async def _publish_one_by_one(
        self, events: Sequence[tuple[StoredEvent, str]], timeout_seconds: float
    ) -> list[Outcome]:
        if not events:
            return []
        publishing = [asyncio.create_task(self._publish(*each)) for each in events]
        # One timer for all: they start together, and one timer each would cost too much.
        _, unanswered = await asyncio.wait(publishing, timeout=timeout_seconds)
        for task in unanswered:
            task.cancel()
        return [Outcome.UNCONFIRMED if task in unanswered else task.result() for task in publishing]

    async def _publish(self, event: StoredEvent, routing_key: str) -> Outcome:
        message = encode_stored(event, source=self._source)
        try:
            with talking():
                exchange = self._exchanges[self._to]
                await exchange.publish(message, routing_key=routing_key, mandatory=True)
        except PublishError:
            return Outcome.RETURNED
        except DeliveryError:
            return Outcome.NACKED
        except BROKER_ERRORS:
            return Outcome.UNCONFIRMED
        return Outcome.CONFIRMED


class _Bulk:
    """Publishes events as rendered bytes."""

    def __init__(self, publisher: BulkPublisher, renderer: Renderer) -> None:
        self._publisher = publisher
        self._renderer = renderer

    async def publish(
        self, events: Sequence[tuple[StoredEvent, str]], timeout_seconds: float
    ) -> list[Outcome]:
        answers = await self._publisher.publish(
            [self._renderer.render(event, key) for event, key in events],
            [str(event.event_id) for event, _ in events],
            timeout_seconds=timeout_seconds,
        )
        return [Outcome(answer) for answer in answers]


def _frame_body_bytes_max(channel: Channel) -> int:
    """The most that a frame of a body may carry; with ``frame_max = 0`` the broker sets no limit.

    The client library subtracts a frame's overhead from that 0.
    """
    size = channel.max_content_size
    return size if size > 0 else BODY_BYTES_MAX


def _sampled_steps(
    keyed: Sequence[tuple[StoredEvent, str]], outcomes: Sequence[Outcome], server: Server | None
) -> Mapping[Step, Sequence[tuple[str, UUID]]]:
    """What was done with the events whose trace is sampled, for their spans."""
    found: defaultdict[tuple[str, Outcome], list[tuple[str, UUID]]] = defaultdict(list)
    for (event, routing_key), outcome in zip(keyed, outcomes, strict=True):
        if event.traceparent is not None and is_sampled(event.traceparent):
            found[routing_key, outcome].append((event.traceparent, event.event_id))
    return {
        step("send", EXCHANGE, key, "", outcome, outcome is not Outcome.CONFIRMED, server): sent
        for (key, outcome), sent in found.items()
    }


def _is_sendable(event: StoredEvent, routing_key: str) -> bool:
    """Return whether a broker would accept the event."""
    return (
        len((event.payload or "").encode()) <= BODY_BYTES_MAX
        and len(routing_key.encode()) <= ROUTING_KEY_BYTES_MAX
    )


@asynccontextmanager
async def publisher(
    amqp_url: str,
    *,
    source: str,
    timeout_seconds: float,
    to: str = EXCHANGE,
    plain: bool = False,
) -> AsyncIterator[Publisher]:
    """Open a publisher on a connection of its own, and declare both of the source's exchanges.

    Parameters:
        amqp_url: the virtual host.
        source: the issuer, which the events name as their source.
        timeout_seconds: the time limit of each publish.
        to: ``EXCHANGE`` or ``REPLAY_EXCHANGE``.
        plain: publish one by one through the client library, which is slower.

    Raises:
        BROKER_ERRORS: the broker is away or refuses the connection.
    """
    async with connected(amqp_url, name="auth-service relay", bulk=not plain) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        publishing = Publisher(
            connection, channel, to, source=source, timeout_seconds=timeout_seconds
        )
        await publishing.open()
        yield publishing
