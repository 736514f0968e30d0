"""Refuse a replay to a consumer that has no queue, before it is started at the command line."""

from auth_service.replays.model import NoSuchConsumer
from contracts.events.names import replay_queue
from service_kit.broker.connection import BROKER_ERRORS, connected
from service_kit.broker.queue_depths import has_queue


async def require_queue(amqp_url: str, consumer: str) -> None:
    """Refuse a consumer without a queue for replays, unless the broker is away.

    Raises:
        NoSuchConsumer: the broker has no queue for replays to ``consumer``.
    """
    try:
        async with connected(amqp_url, name="auth-service replay start") as connection:
            is_there = await has_queue(connection, replay_queue(consumer))
    except BROKER_ERRORS:
        return  # the relay waits for the broker, and reports a missing queue then
    if not is_there:
        raise NoSuchConsumer(
            f"no consumer {consumer!r} has a queue for replays ({replay_queue(consumer)}): correct"
            " the name, start the consumer, or let the replay wait for it (--wait)"
        )
