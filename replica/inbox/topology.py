"""Declare the service's queues on the broker, and check that they are as required.

Each service declares only its own objects. The queues belong to the service; the exchanges belong
to the source, and the consumer waits for them.

Guarantees: a queue with another type or other arguments stops the start with an error that says
what to do. A missing live queue is reported before and after it is declared, so that no crash hides
the loss of its messages.
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
    URGENT_BINDING,
)
from replica.queue_names import QueueNames
from service_kit.broker.queue_depths import depth
from service_kit.process.errors import OperatorError

T = TypeVar("T")


class WrongTopology(OperatorError):
    """A queue is not as declared here; the message says what to do."""


class SourceMissing(Exception):
    """The source's exchange does not exist yet: no relay has ever run on this broker."""


async def declare(
    connection: AbstractConnection,
    names: QueueNames,
    *,
    queue_lost: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Declare queues and bindings, except the binding of replays. Idempotent.

    Parameters:
        connection: to the broker.
        names: the names of the service's queues.
        queue_lost: awaited if the live queue is missing, before and after it is declared, because
            its messages, and those sent meanwhile, are lost.

    Raises:
        WrongTopology: a queue or exchange exists with another type or other arguments.
        SourceMissing: the exchange of live events does not exist yet.
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
        # After the live queue: with this one alone, the broker would confirm what only it has.
        urgent = await _own(
            names.urgent, channel.declare_queue(**queues.urgent_queue(names.service))
        )
        await urgent.bind(exchange, URGENT_BINDING)
        if is_lost and queue_lost:
            await queue_lost()


async def bind_replays(connection: AbstractConnection, names: QueueNames) -> bool:
    """Bind the queue of replays; return False if the exchange does not exist yet.

    Sources that support replays declare the exchange; live events do not wait for it.
    """
    channel = await connection.channel()
    try:
        exchange = await channel.get_exchange(REPLAY_EXCHANGE, ensure=True)
    except ChannelNotFoundEntity:  # it has closed the channel
        return False
    async with channel:
        queue = await channel.get_queue(names.replay, ensure=False)
        await queue.bind(exchange, names.service)
    return True


async def depths(connection: AbstractConnection, names: QueueNames) -> dict[str, int | None]:
    """Return the number of ready messages in each queue; None for a missing queue."""
    return {name: await depth(connection, name) for name in names.depths.values()}


async def _own(name: str, declaration: Awaitable[T]) -> T:
    try:
        return await declaration
    except ChannelPreconditionFailed as error:
        raise WrongTopology(
            f"{name} exists on the broker with another type or other arguments ({error}). Stop the"
            f" consumers, delete it (rabbitmqctl delete_queue {name}) and start them again: they"
            " declare the queue, and reconcile repairs what was in it."
        ) from None
