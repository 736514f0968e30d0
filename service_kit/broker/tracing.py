"""Name what is done with a message as OpenTelemetry's conventions for RabbitMQ do."""

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from service_kit.process.tracing.steps import Step

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection

Server = tuple[str, int]
"""The host and the port of a broker."""

_STEPS_MAX: Final = 1_000
"""A few dozen are in use."""


@lru_cache(maxsize=_STEPS_MAX)
def step(
    operation: str,
    exchange: str,
    routing_key: str,
    queue: str = "",
    outcome: str = "",
    is_error: bool = False,
    server: Server | None = None,
) -> Step:
    """Return the step by which a message goes to, or comes from, a destination.

    Parameters:
        operation: ``create``, ``send`` or ``process``.
        exchange: the exchange.
        routing_key: the type of the event.
        queue: the queue that it comes from.
        outcome: our word for the result.
        is_error: whether the step failed.
        server: the broker.
    """
    names = dict.fromkeys(name for name in (exchange, routing_key, queue) if name)
    return Step(operation, ":".join(names), routing_key, outcome, is_error, server)


def server_of(connection: "AbstractConnection") -> Server | None:
    """Return the broker that ``connection`` leads to, as far as the library tells."""
    url = getattr(connection, "url", None)
    return None if url is None or url.host is None else (url.host, url.port or 0)
