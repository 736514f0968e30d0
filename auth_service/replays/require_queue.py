"""Whether there is anybody to send a replay to."""

from auth_service.replays.model import NoSuchConsumer
from contracts.events.names import replay_queue
from service_kit.broker.connection import BROKER_ERRORS, connected
from service_kit.broker.queue_depths import has_queue


async def require_queue(amqp_url: str, consumer: str) -> None:
    """Refuse a consumer that has no queue; a broker that is away refuses nobody.

    Raises:
        NoSuchConsumer: the broker has no queue of that name.
    """
    try:
        async with connected(amqp_url, name="auth-service replay start") as connection:
            is_there = await has_queue(connection, replay_queue(consumer))
    except BROKER_ERRORS:
        return  # the relay waits for it, and looks then
    if not is_there:
        raise NoSuchConsumer(
            f"no consumer {consumer!r} has a queue for replays ({replay_queue(consumer)}): correct"
            " its name, start it, or have the replay wait for it (--wait)"
        )
