"""Count and time the requests of an API.

By the template of the route that responded, so that nothing a caller invents becomes a label; what
no route of FastAPI handled (pages, unknown paths) is ``none``. The status is its code, of which a
route has a handful. Probes and the metrics themselves are left out. The usual middleware for this
looks for the route a second time and wakes the loop once more, which costs half of what a page of
posts costs.
"""

import time
from collections.abc import MutableMapping
from typing import Any, Final

from prometheus_client import Counter, Histogram

from service_kit.http.errors import METHODS
from service_kit.process.telemetry import Asgi

LEFT_OUT: Final = ("/livez", "/readyz", "/metrics")

COUNTED: Final = (*METHODS, "OPTIONS")
"""Methods by their names; others, which callers may invent, are ``other``."""

LASTS: Final = "lasts"
"""Set in the scope of a response that is to last, such as a live tail: its time is no latency."""

FAILED: Final = "500"
"""What the server responds if the application fails."""

ABANDONED: Final = "499"
"""The client disconnected and got no response; nginx counts it by the same code."""

requests = Counter(
    "http_requests",
    "Requests by method, status and route",
    ["method", "status", "handler"],
)
duration = Histogram(
    "http_request_duration_seconds",
    "Time until the whole response was sent, by method and route",
    ["method", "handler"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


def counted(app: Asgi) -> Asgi:
    """Middleware (ASGI): each request is counted and timed, also without a response."""

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in LEFT_OUT:
            await app(scope, receive, send)
            return
        status = ABANDONED
        started = time.perf_counter()

        async def send_noting(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await app(scope, receive, send_noting)
        except BaseException:
            if status == ABANDONED:
                status = FAILED
            raise
        finally:
            method, handler = method_of(scope), route_of(scope) or "none"
            requests.labels(method, status, handler).inc()
            if LASTS not in scope:
                duration.labels(method, handler).observe(time.perf_counter() - started)

    return call


def method_of(scope: MutableMapping[str, Any]) -> str:
    """The method of a request as it may be shown: by its name, or ``other``."""
    method: str = scope["method"]
    return method if method in COUNTED else "other"


def route_of(scope: MutableMapping[str, Any]) -> str | None:
    """The template of the route that has responded; None if no route of FastAPI has."""
    path: str | None = getattr(scope.get("route"), "path", None)
    return path
