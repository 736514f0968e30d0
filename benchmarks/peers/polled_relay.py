"""An outbox that is polled once a second and published one by one, each confirm awaited.

It shares the table with our relay. It reads 500 events at a time until none is left, and marks them
with one statement, which is faster than the pipelines found in practice.
"""

import asyncio
import os

from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from auth_service.outbox.table import outbox_events
from contracts.events.names import EXCHANGE

_BATCH = 500
_POLL_SECONDS = 1.0

_exchange = RabbitExchange(EXCHANGE, type=ExchangeType.TOPIC, durable=True)


async def relay() -> None:
    """Publish until ended."""
    engine = create_async_engine(os.environ["PEER_SOURCE_URL"])
    async with RabbitBroker(os.environ["PEER_AMQP_URL"]) as broker:
        while True:
            while await _publish_batch(engine, broker):
                pass
            await asyncio.sleep(_POLL_SECONDS)


async def _publish_batch(engine: AsyncEngine, broker: RabbitBroker) -> bool:
    """Publish the oldest events; return whether there were any."""
    async with engine.begin() as connection:
        found = await connection.execute(
            select(outbox_events.c.position, outbox_events.c.type, outbox_events.c.payload)
            .where(outbox_events.c.published_at.is_(None))
            .order_by(outbox_events.c.position)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
        )
        events = found.all()
        for event in events:
            await broker.publish(
                event.payload, exchange=_exchange, routing_key=event.type, persist=True
            )
        await connection.execute(
            update(outbox_events)
            .where(outbox_events.c.position.in_([event.position for event in events]))
            .values(published_at=func.now())
        )
    return bool(events)


if __name__ == "__main__":
    asyncio.run(relay())
