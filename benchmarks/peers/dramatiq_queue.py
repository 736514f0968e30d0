"""Put events into dramatiq's queue, in dramatiq's own message format."""

from typing import Final

from dramatiq import Message
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.recording import new_users

ACTOR: Final = "apply"
QUEUE: Final = "peer"


def enqueue(amqp_url: str, count: int) -> None:
    """Send ``count`` events to the actor."""
    broker = RabbitmqBroker(url=amqp_url, middleware=[])
    broker.declare_queue(QUEUE)
    for user in new_users(count):
        broker.enqueue(
            Message(
                queue_name=QUEUE,
                actor_name=ACTOR,
                args=(user.model_dump_json(),),
                kwargs={},
                options={},
            )
        )
    broker.close()
