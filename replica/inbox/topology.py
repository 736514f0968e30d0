"""Declare this service's names on the broker, and check that they are what they should be.

Each service declares its own names only: the queues here are the blog's, the exchanges are the
source's and are waited for.

Guarantees: a queue that exists with another type or other arguments stops the start with a sentence
that says what to do, instead of working differently than promised; a live queue that is not there
is told of before it is made and after, so that no crash hides that its messages are gone.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aio_pika import ExchangeType
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from contracts.events import queues
from contracts.events.names import (
    BINDINGS,
    EXCHANGE,
    REPLAY_EXCHANGE,
    dead_queue,
    live_queue,
    replay_queue,
)
from service_kit.broker.queue_depths import depth
from service_kit.process.errors import OperatorError

SERVICE: Final = "blog"
LIVE: Final = live_queue(SERVICE)
REPLAY: Final = replay_queue(SERVICE)
DEAD: Final = dead_queue(SERVICE)

DEPTHS: Final = {"queue_depth": LIVE, "replay_queue_depth": REPLAY, "dead_queue_depth": DEAD}
"""Each queue by the name under which its depth is told."""

T = TypeVar("T")


class WrongTopology(OperatorError):
    """A queue is not as declared here; the message says what an operator can do."""


class SourceMissing(Exception):
    """The source's exchange is not there yet: no relay has ever run on this broker."""


async def declare(
    connection: AbstractConnection, *, queue_lost: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Declare queues and bindings, but for the one of replays; repeating it changes nothing.

    Parameters:
        connection: to the broker.
        queue_lost: awaited when the live queue is not there, before it is made and after: whatever
            was in it, or came meanwhile, is gone.

    Raises:
        WrongTopology: a queue or exchange of ours exists and is different.
        SourceMissing: the exchange of live events is not there yet.
    """
    channel = await connection.channel()
    async with channel:
        dead_exchange = await _own(
            DEAD, channel.declare_exchange(DEAD, ExchangeType.FANOUT, durable=True)
        )
        dead = await _own(DEAD, channel.declare_queue(**queues.dead_queue(SERVICE)))
        await dead.bind(dead_exchange)
        await _own(REPLAY, channel.declare_queue(**queues.replay_queue(SERVICE)))
        try:
            exchange = await channel.get_exchange(EXCHANGE, ensure=True)
        except ChannelNotFoundEntity:
            raise SourceMissing(f"exchange {EXCHANGE} is not declared yet") from None
        is_lost = await depth(connection, LIVE) is None
        if is_lost and queue_lost:
            await queue_lost()
        live = await _own(LIVE, channel.declare_queue(**queues.live_queue(SERVICE)))
        for binding in BINDINGS:
            await live.bind(exchange, binding)
        if is_lost and queue_lost:
            await queue_lost()


async def bind_replays(connection: AbstractConnection) -> bool:
    """Bind the queue of replays, and tell whether that can be done already.

    The exchange is declared by sources that can replay; live events do not wait for it.
    """
    channel = await connection.channel()
    try:
        exchange = await channel.get_exchange(REPLAY_EXCHANGE, ensure=True)
    except ChannelNotFoundEntity:  # which has closed the channel
        return False
    async with channel:
        queue = await channel.get_queue(REPLAY, ensure=False)
        await queue.bind(exchange, SERVICE)
    return True


async def depths(connection: AbstractConnection) -> dict[str, int | None]:
    """How many messages are ready in each queue; None where there is no queue."""
    return {name: await depth(connection, name) for name in DEPTHS.values()}


async def _own(name: str, declaration: Awaitable[T]) -> T:
    try:
        return await declaration
    except ChannelPreconditionFailed as error:
        raise WrongTopology(
            f"{name} exists on the broker with another type or other arguments ({error}). Stop the"
            f" consumers, delete it (rabbitmqctl delete_queue {name}) and start again: the queue is"
            " declared again, and reconcile repairs what was in it."
        ) from None
