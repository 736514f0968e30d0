"""Names on the broker that publisher and consumers share.

Step 4 of 6 is RabbitMQ itself: the relay publishes to ``EXCHANGE`` with the event's type as routing
key, and each consuming service binds a queue of its own under its own prefix (``blog.users``).
"""

from typing import Final

EXCHANGE: Final = "users"
"""Topic exchange of live events. The source declares it; consumers only check for it."""

REPLAY_EXCHANGE: Final = "users.replay"
"""Direct exchange of replays. The source declares it; the routing key is the consumer's name."""

EXCHANGE_TYPES: Final = {EXCHANGE: "topic", REPLAY_EXCHANGE: "direct"}
"""The exchanges that the source declares, both durable, and their types."""

USER_BINDING: Final = "user.*"
"""Matches every user event: a consumer parks an unknown type and misses none."""

HEARTBEAT_BINDING: Final = "sync.heartbeat"
"""Matches the numbered heartbeat, by which a consumer tells an idle source from a broken one."""

KEY_BINDING: Final = "key.*"
"""Matches events about signing keys: a revoked key must not verify another token."""

SERVICE_BINDING: Final = "service.*"
"""Matches events about service accounts: a deleted or disabled account's tokens are refused."""

BINDINGS: Final = (USER_BINDING, HEARTBEAT_BINDING, KEY_BINDING, SERVICE_BINDING)
"""All bindings of a consumer's queue. The source waits until a queue accepts each event, so upgrade
consumers before the source records the first event of a new type."""


URGENT_BINDING: Final = "urgent"
"""Matches an additional copy of urgent events: deletions, disabled users, revoked tokens and keys.
The relay adds it as a ``BCC`` header, which the broker routes by and removes. The first copy goes
by the event's type, so a service without a queue for urgent events misses nothing. While a service
has that queue and no other, the broker confirms urgent events that only it has."""


def live_queue(service: str) -> str:
    """The durable queue of ``service`` for live events, such as ``blog.users``."""
    return f"{service}.{EXCHANGE}"


def urgent_queue(service: str) -> str:
    """The queue of ``service`` for copies of urgent events, which it reads before all others."""
    return f"{service}.{EXCHANGE}.urgent"


def replay_queue(service: str) -> str:
    """The durable queue of ``service`` for replays, so that they never delay live events."""
    return f"{service}.{REPLAY_EXCHANGE}"


def dead_queue(service: str) -> str:
    """The dead-letter queue of ``service``; its exchange has the same name."""
    return f"{service}.{EXCHANGE}.dead"
