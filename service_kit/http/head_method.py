"""HEAD wherever there is GET (RFC 9110 9.3.2); FastAPI's routes take only what they name."""

from collections.abc import MutableMapping
from typing import Any, Final

from service_kit.process.telemetry import Asgi

_IS_HEAD: Final = "is_head"


def is_head(scope: MutableMapping[str, Any]) -> bool:
    """Whether the request's client will get no body, so that an endless one must not begin."""
    return _IS_HEAD in scope


def with_head(app: Asgi) -> Asgi:
    """Middleware (ASGI): a HEAD is served as the GET, and its response loses the body.

    ``route``, which FastAPI writes into the scope, is passed on for the request metrics.
    """

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await app(scope, receive, send)
            return

        async def send_head(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        served = {**scope, "method": "GET", _IS_HEAD: True}
        try:
            await app(served, receive, send_head)
        finally:
            if "route" in served:
                scope["route"] = served["route"]

    return call
