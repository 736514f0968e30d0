"""Declare this service's names on the broker, and check that they are what they should be.

Each service declares its own names only: the queues are the service's, the exchanges are the
source's and are waited for.

Guarantees: a queue that exists with another type or other arguments stops the start with a sentence
that says what to do, instead of working differently than promised; a live queue that is not there
is told of before it is made and after, so that no crash hides that its messages are gone.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aio_pika import ExchangeType
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from contracts.events import queues
from contracts.events.names import (
    BINDINGS,
    EXCHANGE,
    REPLAY_EXCHANGE,
)
from replica.queue_names import QueueNames
from service_kit.broker.queue_depths import depth
from service_kit.process.errors import OperatorError

T = TypeVar("T")


class WrongTopology(OperatorError):
    """A queue is not as declared here; the message says what an operator can do."""


class SourceMissing(Exception):
    """The source's exchange is not there yet: no relay has ever run on this broker."""


async def declare(
    connection: AbstractConnection,
    names: QueueNames,
    *,
    queue_lost: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Declare queues and bindings, but for the one of replays; repeating it changes nothing.

    Parameters:
        connection: to the broker.
        names: of the service's queues.
        queue_lost: awaited when the live queue is not there, before it is made and after: whatever
            was in it, or came meanwhile, is gone.

    Raises:
        WrongTopology: a queue or exchange of ours exists and is different.
        SourceMissing: the exchange of live events is not there yet.
    """
    channel = await connection.channel()
    async with channel:
        dead_exchange = await _own(
            names.dead, channel.declare_exchange(names.dead, ExchangeType.FANOUT, durable=True)
        )
        dead = await _own(names.dead, channel.declare_queue(**queues.dead_queue(names.service)))
        await dead.bind(dead_exchange)
        await _own(names.replay, channel.declare_queue(**queues.replay_queue(names.service)))
        try:
            exchange = await channel.get_exchange(EXCHANGE, ensure=True)
        except ChannelNotFoundEntity:
            raise SourceMissing(f"exchange {EXCHANGE} is not declared yet") from None
        is_lost = await depth(connection, names.live) is None
        if is_lost and queue_lost:
            await queue_lost()
        live = await _own(names.live, channel.declare_queue(**queues.live_queue(names.service)))
        for binding in BINDINGS:
            await live.bind(exchange, binding)
        if is_lost and queue_lost:
            await queue_lost()


async def bind_replays(connection: AbstractConnection, names: QueueNames) -> bool:
    """Bind the queue of replays, and tell whether that can be done already.

    The exchange is declared by sources that can replay; live events do not wait for it.
    """
    channel = await connection.channel()
    try:
        exchange = await channel.get_exchange(REPLAY_EXCHANGE, ensure=True)
    except ChannelNotFoundEntity:  # which has closed the channel
        return False
    async with channel:
        queue = await channel.get_queue(names.replay, ensure=False)
        await queue.bind(exchange, names.service)
    return True


async def depths(connection: AbstractConnection, names: QueueNames) -> dict[str, int | None]:
    """How many messages are ready in each queue; None where there is no queue."""
    return {name: await depth(connection, name) for name in names.depths.values()}


async def _own(name: str, declaration: Awaitable[T]) -> T:
    try:
        return await declaration
    except ChannelPreconditionFailed as error:
        raise WrongTopology(
            f"{name} exists on the broker with another type or other arguments ({error}). Stop the"
            f" consumers, delete it (rabbitmqctl delete_queue {name}) and start again: the queue is"
            " declared again, and reconcile repairs what was in it."
        ) from None
