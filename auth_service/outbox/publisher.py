"""Publish events and say what became of each.

Guarantees: persistent, ``mandatory`` and confirmed; every publish ends within the timeout; what is
not CONFIRMED may or may not have arrived, and must be published again.
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
"""AMQP has one byte for the length."""

BODY_BYTES_MAX: Final = 1024 * 1024
"""Every broker takes so much, whatever its limits; consumers park what is far smaller. Beyond its
limit a broker closes the channel, and with it every other event that is under way."""

DECLARE_TIMEOUT_SECONDS: Final = 5.0
"""A broker that is there answers in milliseconds; one that is silent is away."""


class Outcome(StrEnum):
    """What became of a publish; the ``result`` label of ``usersync_relay_published_total``."""

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
        """Declare both of the source's exchanges; repeating it changes nothing.

        Consumers wait for both. One that was deleted on the broker is back with the next call.

        Raises:
            BROKER_ERRORS: the broker is away, is silent, refuses, or has others of their names.
        """
        for name, kind in _EXCHANGES.items():
            self._exchanges[name] = await self._channel.declare_exchange(
                name, kind, durable=True, timeout=DECLARE_TIMEOUT_SECONDS
            )

    async def has_queue(self, name: str) -> bool:
        """Whether the broker has a queue of this name, bound or not.

        Raises:
            BROKER_ERRORS: the broker is away, is silent, or refuses.
        """
        return await has_queue(self._connection, name)

    async def publish(
        self, events: Sequence[StoredEvent], *, routing_key: str | None = None
    ) -> list[Outcome]:
        """Publish ``events``, all in flight at once, and wait for the broker's word on each.

        RETURNED: no queue is bound. NACKED: a queue refused, being full. UNCONFIRMED: no answer
        in time, or the connection is gone. UNSENDABLE: no broker would take it.

        Parameters:
            events: what to publish.
            routing_key: for all of them; each one's type by default.
        """
        if not events:
            return []
        publishing = [
            asyncio.create_task(self._publish(event, routing_key or event.type)) for event in events
        ]
        # One timer for all: they start together, and a timer each costs more than it is worth.
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
    """A publisher on a connection of its own, with both of the source's exchanges declared.

    Parameters:
        amqp_url: the virtual host.
        source: the issuer, whose events they are.
        timeout_seconds: for each publish.
        to: ``EXCHANGE`` or ``REPLAY_EXCHANGE``.

    Raises:
        BROKER_ERRORS: the broker is away, or refuses.
    """
    async with connected(amqp_url, name="auth-service relay") as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        publishing = Publisher(
            connection, channel, to, source=source, timeout_seconds=timeout_seconds
        )
        await publishing.declare()
        yield publishing
