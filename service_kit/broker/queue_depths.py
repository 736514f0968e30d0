"""Read the depth of queues on the broker, and whether they exist.

Guarantees: nothing is declared, bound or consumed; a missing queue is a result, not an error.
"""

import asyncio
from collections.abc import Collection
from typing import Final

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from service_kit.broker import connection as broker
from service_kit.broker import metrics

LOOK_SECONDS_MAX: Final = 2.0
"""A broker that is up responds in milliseconds; the next read should not wait."""


async def depth(connection: AbstractConnection, name: str) -> int | None:
    """How many messages are ready in the queue; None where there is no such queue.

    Raises:
        BROKER_ERRORS: the broker is away or refuses. The caller limits the time.
    """
    channel = await connection.channel()
    try:
        queue = await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:  # which has closed the channel
        return None
    await channel.close()
    return queue.declaration_result.message_count


async def has_queue(connection: AbstractConnection, name: str) -> bool:
    """Whether the broker has a queue of this name, bound or not.

    Raises:
        BROKER_ERRORS: the broker is away, is silent, or refuses.
    """
    async with asyncio.timeout(broker.CONNECT_TIMEOUT_SECONDS):
        return await depth(connection, name) is not None


class QueueLook:
    """Looks at queues over a connection of its own, kept from one look to the next.

    A process has one: the metric shows its last look.
    """

    def __init__(self, amqp_urls: str, queues: Collection[str], *, name: str) -> None:
        """``name``: by which the broker's list of connections shows it."""
        self._amqp_urls = amqp_urls
        self._queues = queues
        self._name = name
        self._connection: AbstractConnection | None = None

    async def depths(self) -> dict[str, int | None]:
        """How many messages are ready in each queue; all None when the broker does not answer."""
        found = await self._look()
        metrics.show(found)
        return found

    async def _look(self) -> dict[str, int | None]:
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                with broker.talking():
                    if self._connection is None:
                        self._connection = await broker.connect(self._amqp_urls, name=self._name)
                    return {queue: await depth(self._connection, queue) for queue in self._queues}
        except broker.BROKER_ERRORS:
            await self.close()
            return dict.fromkeys(self._queues)

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await broker.close(connection)
