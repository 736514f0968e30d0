"""Publish one event and say what became of it.

Guarantees: persistent, ``mandatory`` and confirmed; every publish ends within its timeout; what is
not CONFIRMED may or may not have arrived, and must be published again.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum

import aio_pika
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError

from auth_service.outbox.backlog import RecordedEvent
from contracts.envelope import Attributes, wrap
from contracts.names import EXCHANGE

CONNECT_TIMEOUT_SECONDS = 5.0


class Outcome(StrEnum):
    """What became of a publish; the ``result`` label of ``usersync_relay_published_total``."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    UNCONFIRMED = "unconfirmed"


class Publisher:
    """Publishes recorded events of one source to the exchange of live events."""

    def __init__(self, exchange: AbstractExchange, *, source: str, timeout_seconds: float) -> None:
        self._exchange = exchange
        self._source = source
        self._timeout_seconds = timeout_seconds

    async def publish(self, event: RecordedEvent) -> Outcome:
        """Publish ``event`` and wait for the broker's word on it.

        RETURNED: no queue is bound. NACKED: a queue refused, being full. UNCONFIRMED: no answer
        in time, or the connection is gone.
        """
        attributes = Attributes(
            id=event.event_id,
            source=self._source,
            type=event.type,
            time=event.occurred_at,
            sequence=event.position,
            subject=event.user_id,
            version=event.version,
            traceparent=event.traceparent,
        )
        message = wrap(attributes, (event.payload or "{}").encode())
        try:
            await self._exchange.publish(
                message, routing_key=event.type, mandatory=True, timeout=self._timeout_seconds
            )
        except PublishError:
            return Outcome.RETURNED
        except DeliveryError:
            return Outcome.NACKED
        except (TimeoutError, *aio_pika.exceptions.CONNECTION_EXCEPTIONS):
            return Outcome.UNCONFIRMED
        return Outcome.CONFIRMED


@asynccontextmanager
async def publisher(
    amqp_url: str, *, source: str, timeout_seconds: float
) -> AsyncIterator[Publisher]:
    """A publisher on a connection of its own, with the exchange declared.

    Raises:
        aio_pika.exceptions.CONNECTION_EXCEPTIONS, TimeoutError: the broker is away.
    """
    connection = await aio_pika.connect(amqp_url, timeout=CONNECT_TIMEOUT_SECONDS)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.declare_exchange(
            EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, timeout=timeout_seconds
        )
        yield Publisher(exchange, source=source, timeout_seconds=timeout_seconds)
