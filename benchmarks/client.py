"""The limit: aio-pika alone on the same messages, exchange and queue, without a database.

Publishing keeps 100 confirms in flight, with as many coroutines that each await their own: the
fastest way found to pipeline with aio-pika. Consuming prefetches 500 messages and acknowledges 250
at a time with ``multiple``. The messages are made before the clock starts.
"""

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage

from benchmarks.stage import ISSUER, Stage
from blog_service.replica_of_users import USERS
from contracts.events import UserCreated, UserState
from contracts.events.envelope import encode
from contracts.events.names import EXCHANGE

IN_FLIGHT: Final = 100
PREFETCH: Final = 500
ACKNOWLEDGED_AT_ONCE: Final = PREFETCH // 2

WARM_UP: Final = 0.1
"""The share of events before the clock starts; the same for every contestant."""


async def publish(
    stage: Stage, users: Sequence[UserState], *, is_sampled: bool | None = None
) -> float:
    """Publish a creation of each user to the exchange of live events; return events per second.

    ``is_sampled``: whether the trace that each message carries is; None for no trace.
    """
    count, messages = len(users), _messages(users, is_sampled)
    async with await aio_pika.connect(stage.amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(EXCHANGE)
        warm_up = int(WARM_UP * count)
        with _garbage_frozen():
            await _publish(exchange, messages[:warm_up])
            started = time.perf_counter()
            await _publish(exchange, messages[warm_up:])
            return (count - warm_up) / (time.perf_counter() - started)


async def consume(stage: Stage, count: int) -> float:
    """Consume ``count`` events from the queue of live events; return events per second."""
    warm_up = int(WARM_UP * count)
    taken = 0
    started = ended = 0.0
    done = asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        nonlocal taken, started, ended
        taken += 1
        if taken == warm_up:
            started = time.perf_counter()
        if taken % ACKNOWLEDGED_AT_ONCE == 0 or taken == count:
            await message.ack(multiple=True)
        if taken == count:
            ended = time.perf_counter()
            done.set()

    async with await aio_pika.connect(stage.amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(USERS.queues.live)
        await queue.consume(take)
        await done.wait()
    return (count - warm_up) / (ended - started)


async def _publish(exchange: AbstractExchange, messages: list[aio_pika.Message]) -> None:
    waiting: Iterator[aio_pika.Message] = iter(messages)

    async def one_after_the_other() -> None:
        for message in waiting:
            await exchange.publish(message, routing_key=UserCreated.type, mandatory=True)

    await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))


def _messages(users: Sequence[UserState], is_sampled: bool | None) -> list[aio_pika.Message]:
    def trace() -> str | None:
        trace = f"00-{uuid4().hex}-{uuid4().hex[:16]}"
        return None if is_sampled is None else f"{trace}-{is_sampled:02d}"

    return [
        encode(
            UserCreated(
                id=uuid4(),
                source=ISSUER,
                time=user.created_at,
                sequence=number,
                traceparent=trace(),
                data=user,
            )
        )
        for number, user in enumerate(users)
    ]


@contextmanager
def _garbage_frozen() -> Iterator[None]:
    """Exclude the prepared messages from garbage collection: they are not the client's."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
