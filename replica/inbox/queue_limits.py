"""Log limits of the queues that are stricter than the consumer needs.

A policy or operator policy of the broker can set limits that differ from the declaration. AMQP does
not report them; the broker's management API does, if the user has access.

Guarantees: nothing waits for or depends on this check. Messages that a limit dead-letters are
retried in any case (``waiting``).
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import httpx
import structlog

from contracts.events.queues import DELIVERY_LIMIT, REPLAY_LENGTH_MAX
from replica.queue_names import QueueNames
from replica.settings import ConsumerSettings
from service_kit.http import trusted
from service_kit.process.broker_addresses import split_addresses, tls_context

log = structlog.get_logger()

TIMEOUT_SECONDS: Final = 3.0
"""The API responds in milliseconds if it is available."""

_DEFAULTS: Final = {"amqp": (5672, "http", 15672), "amqps": (5671, "https", 15671)}
"""By URL scheme: the broker's default port, and the scheme and port of its management API. With
another broker port the API's port is unknown, and another program must not get the password."""

_NONE: Final = float("inf")

NEEDED_LIVE: Final = {
    "delivery-limit": DELIVERY_LIMIT,
    "message-ttl": _NONE,
    "expires": _NONE,
    "max-length": _NONE,
    "max-length-bytes": _NONE,
}
"""The lowest harmless value of each limit of the queue of live events."""

NEEDED_REPLAY: Final = NEEDED_LIVE | {"max-length": REPLAY_LENGTH_MAX}
"""The same for the queue of replays."""


def stricter(needed: Mapping[str, float], policy: Mapping[str, Any]) -> dict[str, int | float]:
    """Those limits of ``policy``, by the broker's names, that are stricter than ``needed``."""
    return {
        name: policy[name]
        for name, least in needed.items()
        if isinstance(policy.get(name), int | float) and policy[name] < least
    }


def management_url(address: str) -> str | None:
    """Return the default URL of a broker's management API; None if it is unknown."""
    parts = urlsplit(address)
    found = _DEFAULTS.get(parts.scheme)
    if found is None or (parts.port or found[0]) != found[0]:
        return None
    _, scheme, port = found
    host = parts.hostname or "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def log_strict_limits(names: QueueNames, settings: ConsumerSettings) -> None:
    """Log limits that are stricter than needed, or that they are unknown. Never raises.

    The management API is called with the user and password of the broker's address, of each
    address in turn until one responds.
    """
    setting = settings.variable("rabbitmq_management_url")
    remedy = f"{setting}, and a user with the tag management"
    reason = None
    for address in split_addresses(settings.amqp_url):
        base_url = settings.rabbitmq_management_url or management_url(address)
        if base_url is None:
            continue
        try:
            await _log_strict_limits(names, base_url, address)
        except Exception as error:  # the check is optional, so no error matters
            reason = type(error).__name__
        else:
            return
    log.info("queue.limits_unknown", error=reason, remedy=remedy)


async def _log_strict_limits(names: QueueNames, base_url: str, address: str) -> None:
    parts = urlsplit(address)
    vhost = quote(unquote(parts.path[1:]) or "/", safe="")
    async with httpx.AsyncClient(
        base_url=base_url,
        auth=(unquote(parts.username or "guest"), unquote(parts.password or "guest")),
        timeout=TIMEOUT_SECONDS,
        verify=tls_context(address) or trusted.authorities(),
        trust_env=False,
    ) as client:
        for queue, needed in ((names.live, NEEDED_LIVE), (names.replay, NEEDED_REPLAY)):
            response = await client.get(f"/api/queues/{vhost}/{queue}")
            response.raise_for_status()
            _log_stricter(queue, needed, response.json())


def _log_stricter(queue: str, needed: Mapping[str, float], found: Mapping[str, Any]) -> None:
    policy = found.get("effective_policy_definition")
    if limits := stricter(needed, policy if isinstance(policy, dict) else {}):
        log.warning(
            "queue.limits_too_strict",
            queue=queue,
            limits=limits,
            policy=found.get("policy"),
            operator_policy=found.get("operator_policy"),
        )
