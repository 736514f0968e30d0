"""Describe the queues that a consuming service declares, so that no message is lost.

Data only: the arguments of aio-pika's ``declare_queue`` or of any other client. A queue that exists
with other arguments must be deleted first.

Guarantees: durable quorum queues. A message that the service rejects, or that is delivered
``DELIVERY_LIMIT`` times, goes to the dead-letter queue through the fanout exchange of the same
name, at least once; except in the queue of copies of urgent events, which may lose them.

Not here: the bindings (``names``).
"""

from typing import Any, Final, TypedDict

from contracts.events import names

DELIVERY_LIMIT: Final = 1_000
"""A backstop: a consumer counts attempts itself and parks a message long before. The limit must be
high, because a crash counts as a delivery of every prefetched message."""

REPLAY_LENGTH_MAX: Final = 100_000
"""Some 100 MB, and a minute of work. The rest of a replay waits at the source, where it takes no
room, so that a consumer that is away does not fill the broker's disk."""


URGENT_LENGTH_MAX: Final = 10_000
"""Beyond it the oldest copies are dropped; the events themselves are in the live queue. So a
consumer that is away, or too old to know this queue, does not fill the broker's disk."""


class Queue(TypedDict):
    """The arguments that declare a queue."""

    name: str
    durable: bool
    arguments: dict[str, Any]


def live_queue(service: str) -> Queue:
    """The queue of live events."""
    return _quorum(names.live_queue(service), **_dead_lettered(service))


def replay_queue(service: str) -> Queue:
    """The queue of replays, of limited length."""
    limits = {"x-max-length": REPLAY_LENGTH_MAX}
    return _quorum(names.replay_queue(service), **_dead_lettered(service), **limits)


def urgent_queue(service: str) -> Queue:
    """The queue of copies of urgent events: what it loses is in the live queue."""
    limits = {"x-max-length": URGENT_LENGTH_MAX, "x-overflow": "drop-head"}
    return _quorum(names.urgent_queue(service), **limits)


def dead_queue(service: str) -> Queue:
    """The dead-letter queue."""
    return _quorum(names.dead_queue(service))


def _dead_lettered(service: str) -> dict[str, Any]:
    return {
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": names.dead_queue(service),
        # At-least-once needs reject-publish; without it the broker silently delivers at most once.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _quorum(name: str, **arguments: Any) -> Queue:
    return {"name": name, "durable": True, "arguments": {"x-queue-type": "quorum", **arguments}}
