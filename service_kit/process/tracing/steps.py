"""What a span says of the steps of messages; without the packages of OpenTelemetry."""

from typing import NamedTuple


class Step(NamedTuple):
    """What is done with a message, as far as many messages have it in common.

    ``operation`` is ``create``, ``send`` or ``process``. ``destination`` names exchange, routing
    key and queue, as far as they are known. ``outcome`` is our word for the result; with
    ``is_error`` the step failed. ``server`` is the broker's host and port.
    """

    operation: str
    destination: str
    routing_key: str
    outcome: str = ""
    is_error: bool = False
    server: tuple[str, int] | None = None
