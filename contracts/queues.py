"""How the queues of a consuming service are declared, so that nothing in them gets lost.

Data alone: arguments for whichever client declares the queues that ``names`` names. All of them are
durable; a queue that exists with other arguments has to be deleted first.

Guarantees: quorum queues; what the broker gives up on after ``DELIVERY_LIMIT`` deliveries goes to
the service's dead queue, by way of the fanout exchange of the same name, and is kept until it has
arrived there.
"""

from typing import Any, Final

from contracts.names import dead_queue

DELIVERY_LIMIT: Final = 1_000
"""Only a backstop: a consumer counts for itself, and parks a message long before. It has to be
high, because a crash counts as a delivery of every message that was prefetched."""

REPLAY_LENGTH_MAX: Final = 100_000
"""A replay to a consumer that is away waits at the source, where it takes no room, instead of
filling the broker's disk: this is some 100 MB, and a minute of work."""

DEAD_ARGUMENTS: Final[dict[str, Any]] = {"x-queue-type": "quorum"}
"""Of ``dead_queue``."""


def live_arguments(service: str) -> dict[str, Any]:
    """Of ``live_queue``."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": dead_queue(service),
        # At least once only works together with reject-publish; alone it is silently at most once.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def replay_arguments(service: str) -> dict[str, Any]:
    """Of ``replay_queue``."""
    return {**live_arguments(service), "x-max-length": REPLAY_LENGTH_MAX}
