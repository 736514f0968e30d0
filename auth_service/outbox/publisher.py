"""Publish events to RabbitMQ, and report the outcome of each.

Step 3 of 6: the last code of ours before the broker; the relay and replays share it.

Guarantees: messages are persistent, ``mandatory`` and confirmed. Every publish ends within the
timeout. An event that is not CONFIRMED may or may not have arrived, and must be published again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError

from contracts.events.envelope import StoredEvent, encode_stored
from contracts.events.names import EXCHANGE, REPLAY_EXCHANGE
from service_kit.broker.connection import BROKER_ERRORS, connected, talking
from service_kit.broker.queue_depths import has_queue

_EXCHANGES: Final = {
    EXCHANGE: aio_pika.ExchangeType.TOPIC,
    REPLAY_EXCHANGE: aio_pika.ExchangeType.DIRECT,
}


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

    async def declare(self) -> None:
        """Declare both of the source's exchanges; idempotent.

        Consumers wait for both. The next call restores one that was deleted on the broker.

        Raises:
            BROKER_ERRORS: the broker is away, silent or refuses, or an exchange has another type.
        """
        for name, kind in _EXCHANGES.items():
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
        if not events:
            return []
        publishing = [
            asyncio.create_task(self._publish(event, routing_key or event.type)) for event in events
        ]
        # One timer for all: they start together, and one timer each would cost too much.
        _, unanswered = await asyncio.wait(publishing, timeout=self._timeout_seconds)
        for task in unanswered:
            task.cancel()
        return [Outcome.UNCONFIRMED if task in unanswered else task.result() for task in publishing]

    async def _publish(self, event: StoredEvent, routing_key: str) -> Outcome:
        message = encode_stored(event, source=self._source)
        if message.body_size > BODY_BYTES_MAX or len(routing_key.encode()) > ROUTING_KEY_BYTES_MAX:
            return Outcome.UNSENDABLE
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


@asynccontextmanager
async def publisher(
    amqp_url: str, *, source: str, timeout_seconds: float, to: str = EXCHANGE
) -> AsyncIterator[Publisher]:
    """Open a publisher on a connection of its own, and declare both of the source's exchanges.

    Parameters:
        amqp_url: the virtual host.
        source: the issuer, which the events name as their source.
        timeout_seconds: the time limit of each publish.
        to: ``EXCHANGE`` or ``REPLAY_EXCHANGE``.

    Raises:
        BROKER_ERRORS: the broker is away or refuses the connection.
    """
    async with connected(amqp_url, name="auth-service relay") as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        publishing = Publisher(
            connection, channel, to, source=source, timeout_seconds=timeout_seconds
        )
        await publishing.declare()
        yield publishing
