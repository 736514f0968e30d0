"""Publish events and say what became of each.

Guarantees: persistent, ``mandatory`` and confirmed; every publish ends within the timeout; what is
not CONFIRMED may or may not have arrived, and must be published again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
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

    async def publish(self, wave: Sequence[RecordedEvent]) -> list[Outcome]:
        """Publish a wave, all in flight at once, and wait for the broker's word on each event.

        RETURNED: no queue is bound. NACKED: a queue refused, being full. UNCONFIRMED: no answer
        in time, or the connection is gone.
        """
        if not wave:
            return []
        publishing = [asyncio.create_task(self._publish(event)) for event in wave]
        # One timer for all: they start together, and a timer each costs more than it is worth.
        _, unanswered = await asyncio.wait(publishing, timeout=self._timeout_seconds)
        for task in unanswered:
            task.cancel()
        return [Outcome.UNCONFIRMED if task in unanswered else task.result() for task in publishing]

    async def _publish(self, event: RecordedEvent) -> Outcome:
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
            await self._exchange.publish(message, routing_key=event.type, mandatory=True)
        except PublishError:
            return Outcome.RETURNED
        except DeliveryError:
            return Outcome.NACKED
        except aio_pika.exceptions.CONNECTION_EXCEPTIONS:
            return Outcome.UNCONFIRMED
        except Exception as error:
            # With this very class the client library gives up what waits on a lost connection.
            if type(error) is not Exception:
                raise
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
