"""Look for limits of the queues that are stricter than a consumer needs.

A policy, or an operator policy, of the broker can set them whatever the queues are declared with,
and AMQP does not tell: the broker's management API does, if it lets us in.

Guarantees: nothing waits for the answer, and nothing depends on it; what a limit makes the broker
give up on is tried again in any case (``waiting``).
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import httpx
import structlog

from contracts.events.queues import DELIVERY_LIMIT, REPLAY_LENGTH_MAX
from replica.queue_names import QueueNames
from replica.settings import ConsumerSettings

log = structlog.get_logger()

TIMEOUT_SECONDS: Final = 3.0
"""It answers in milliseconds, if it is there."""

_DEFAULTS: Final = {"amqp": (5672, "http", 15672), "amqps": (5671, "https", 15671)}
"""By the address's scheme: the broker's usual port, and where its management API is then. Beside
another port another program may listen, which must not get the password."""

_NONE: Final = float("inf")

NEEDED_LIVE: Final = {
    "delivery-limit": DELIVERY_LIMIT,
    "message-ttl": _NONE,
    "expires": _NONE,
    "max-length": _NONE,
    "max-length-bytes": _NONE,
}
"""The lowest value of each limit that does no harm to the queue of live events."""

NEEDED_REPLAY: Final = NEEDED_LIVE | {"max-length": REPLAY_LENGTH_MAX}
"""The same for the queue of replays."""


def stricter(needed: Mapping[str, float], policy: Mapping[str, Any]) -> dict[str, int | float]:
    """Those limits of ``policy``, by the broker's names, that are stricter than ``needed``."""
    return {
        name: policy[name]
        for name, least in needed.items()
        if isinstance(policy.get(name), int | float) and policy[name] < least
    }


def management_url(amqp_url: str) -> str | None:
    """Where the management API of a broker is by default; None when that is not known."""
    parts = urlsplit(amqp_url)
    found = _DEFAULTS.get(parts.scheme)
    if found is None or (parts.port or found[0]) != found[0]:
        return None
    _, scheme, port = found
    host = parts.hostname or "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def tell_limits(names: QueueNames, settings: ConsumerSettings) -> None:
    """Log the limits that are stricter than needed, or that they are not known; never raises.

    The user and password of the broker's address are those of the management API.
    """
    setting = settings.variable("rabbitmq_management_url")
    remedy = f"{setting}, and a user with the tag management"
    amqp_url = settings.amqp_url
    asked = settings.rabbitmq_management_url or management_url(amqp_url)
    if asked is None:
        log.info("queue.limits_unknown", remedy=remedy)
        return
    parts = urlsplit(amqp_url)
    vhost = quote(unquote(parts.path[1:]) or "/", safe="")
    credentials = (unquote(parts.username or "guest"), unquote(parts.password or "guest"))
    try:
        async with httpx.AsyncClient(
            base_url=asked,
            auth=credentials,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        ) as client:
            for queue, needed in ((names.live, NEEDED_LIVE), (names.replay, NEEDED_REPLAY)):
                answer = await client.get(f"/api/queues/{vhost}/{queue}")
                answer.raise_for_status()
                _tell(queue, needed, answer.json())
    except Exception as error:  # it is a courtesy, whatever answers there
        log.info("queue.limits_unknown", error=type(error).__name__, remedy=remedy)


def _tell(queue: str, needed: Mapping[str, float], found: Mapping[str, Any]) -> None:
    policy = found.get("effective_policy_definition")
    if limits := stricter(needed, policy if isinstance(policy, dict) else {}):
        log.warning(
            "queue.limits_too_strict",
            queue=queue,
            limits=limits,
            policy=found.get("policy"),
            operator_policy=found.get("operator_policy"),
        )
