"""The queues that a consuming service declares, so that nothing in them gets lost.

Data alone: the arguments of aio-pika's ``declare_queue``, and of whatever else declares queues. One
that exists with other arguments has to be deleted first.

Guarantees: durable quorum queues; what the broker gives up on after ``DELIVERY_LIMIT`` deliveries,
and what the service rejects, goes to its dead queue, by way of the fanout exchange of the same
name, and is kept until it has arrived there.

Not here: what a queue is bound to (``names``).
"""

from typing import Any, Final, TypedDict

from contracts.events import names

DELIVERY_LIMIT: Final = 1_000
"""Only a backstop: a consumer counts for itself, and parks a message long before. It has to be
high, because a crash counts as a delivery of every message that was prefetched."""

REPLAY_LENGTH_MAX: Final = 100_000
"""A replay to a consumer that is away waits at the source, where it takes no room, instead of
filling the broker's disk: this is some 100 MB, and a minute of work."""


class Queue(TypedDict):
    """What declares a queue."""

    name: str
    durable: bool
    arguments: dict[str, Any]


def live_queue(service: str) -> Queue:
    """Of live events."""
    return _quorum(names.live_queue(service), **_dead_lettered(service))


def replay_queue(service: str) -> Queue:
    """Of replays, which holds so many and no more."""
    limits = {"x-max-length": REPLAY_LENGTH_MAX}
    return _quorum(names.replay_queue(service), **_dead_lettered(service), **limits)


def dead_queue(service: str) -> Queue:
    """Of what the broker gave up on, or the service rejected."""
    return _quorum(names.dead_queue(service))


def _dead_lettered(service: str) -> dict[str, Any]:
    return {
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": names.dead_queue(service),
        # At least once only works together with reject-publish; alone it is silently at most once.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _quorum(name: str, **arguments: Any) -> Queue:
    return {"name": name, "durable": True, "arguments": {"x-queue-type": "quorum", **arguments}}
