"""Names on the broker that publisher and consumers share.

Step 4 of 6 is RabbitMQ itself: the relay publishes to ``EXCHANGE`` with the event's type as routing
key, and each consuming service binds a queue of its own under its own prefix (``blog.users``).
"""

from typing import Final

EXCHANGE: Final = "users"
"""Topic exchange of live events, declared by the source; consumers wait for it passively."""

REPLAY_EXCHANGE: Final = "users.replay"
"""Direct exchange of replays, declared by the source; the routing key is the consumer's name."""

USER_BINDING: Final = "user.*"
"""A consumer takes every user event: a type it does not know yet is parked, never missed."""

HEARTBEAT_BINDING: Final = "sync.heartbeat"
"""The numbered heartbeat, which tells quiet from broken."""

KEY_BINDING: Final = "key.*"
"""What happens to signing keys: a revoked one must not verify another token."""

SERVICE_BINDING: Final = "service.*"
"""What happens to service accounts: the tokens of a deleted or disabled one must not count."""

BINDINGS: Final = (USER_BINDING, HEARTBEAT_BINDING, KEY_BINDING, SERVICE_BINDING)
"""All that a consumer's queue is bound to. The source waits for a queue to take each event, so that
a consumer is upgraded before the first event of a new type is recorded."""


def live_queue(service: str) -> str:
    """The durable queue of ``service`` for live events, such as ``blog.users``."""
    return f"{service}.{EXCHANGE}"


def replay_queue(service: str) -> str:
    """The durable queue of ``service`` for replays, so that they never delay live events."""
    return f"{service}.{REPLAY_EXCHANGE}"


def dead_queue(service: str) -> str:
    """Where the broker puts what it gave up on for ``service``; its exchange has the same name."""
    return f"{service}.{EXCHANGE}.dead"
