"""Declare this service's names on the broker, and check that they are what they should be.

Each service declares its own names only: the queues here are the blog's, the exchange is the
source's and is waited for.

Guarantees: a queue that exists with another type or other arguments stops the start with a sentence
that says what to do, instead of working differently than promised.
"""

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from contracts.errors import OperatorError
from contracts.names import BINDINGS, EXCHANGE, dead_queue, live_queue

SERVICE: Final = "blog"
LIVE: Final = live_queue(SERVICE)
DEAD: Final = dead_queue(SERVICE)

DELIVERY_LIMIT: Final = 1_000
"""Only a backstop: our own count parks a message long before. It has to be high, because a crash
counts as a delivery of every message that was prefetched."""

_LIVE_ARGUMENTS: Final[dict[str, Any]] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": DEAD,
    # At least once only works together with reject-publish; alone it is silently at most once.
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
_DEAD_ARGUMENTS: Final[dict[str, Any]] = {"x-queue-type": "quorum"}


T = TypeVar("T")


class WrongTopology(OperatorError):
    """A queue is not as declared here; the message says what an operator can do."""


class SourceMissing(Exception):
    """The source's exchange is not there yet: no relay has ever run on this broker."""


async def declare(connection: AbstractConnection) -> None:
    """Declare queues and bindings; repeating it changes nothing.

    Raises:
        WrongTopology: a queue or exchange of ours exists and is different.
        SourceMissing: the exchange of live events is not there yet.
    """
    channel = await connection.channel()
    async with channel:
        dead_exchange = await _own(
            DEAD, channel.declare_exchange(DEAD, ExchangeType.FANOUT, durable=True)
        )
        dead = await _own(
            DEAD, channel.declare_queue(DEAD, durable=True, arguments=_DEAD_ARGUMENTS)
        )
        await dead.bind(dead_exchange)
        live = await _own(
            LIVE, channel.declare_queue(LIVE, durable=True, arguments=_LIVE_ARGUMENTS)
        )
        try:
            exchange = await channel.get_exchange(EXCHANGE, ensure=True)
        except ChannelNotFoundEntity:
            raise SourceMissing(f"exchange {EXCHANGE} is not declared yet") from None
        for binding in BINDINGS:
            await live.bind(exchange, binding)


async def depths(connection: AbstractConnection) -> dict[str, int | None]:
    """How many messages are ready in each queue; None where there is no queue."""
    found: dict[str, int | None] = {}
    for name in (LIVE, DEAD):
        channel: AbstractChannel = await connection.channel()
        try:
            queue = await channel.declare_queue(name, passive=True)
            found[name] = queue.declaration_result.message_count
            await channel.close()
        except ChannelNotFoundEntity:
            found[name] = None
    return found


async def _own(name: str, declaration: Awaitable[T]) -> T:
    try:
        return await declaration
    except ChannelPreconditionFailed as error:
        raise WrongTopology(
            f"{name} exists on the broker with another type or other arguments ({error}). Stop the"
            f" consumers, delete it (rabbitmqctl delete_queue {name}) and start again: the queue is"
            " declared anew, and reconcile mends what was in it."
        ) from None
