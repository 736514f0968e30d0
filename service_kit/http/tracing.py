"""Follow the trace of each request, and record the request's span if traces are on.

W3C Trace Context: the caller's ``traceparent`` is kept during the request, or a new one. With
traces on, it is that of the request's span, whose parent is the caller's. It is recorded with the
events that the request causes, sent along with requests to other services, and named in log lines.

Guarantees: a span has the template of the route, never a path, a query, an address or an
exception's message. Probes have none.
"""

from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from contracts.traceparent import trace_id
from service_kit.http.metrics import LEFT_OUT, method_of, route_of
from service_kit.process import tracing
from service_kit.process.telemetry import Asgi, new_traceparent, traceparent

HEADER: Final = b"traceparent"


def traced(app: Asgi) -> Asgi:
    """Middleware (ASGI): follow the trace of each request."""

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(HEADER, b"").decode("latin-1")
        callers = sent if trace_id(sent) else None
        recorder = tracing.current()
        if recorder is None or scope["path"] in LEFT_OUT:
            await _follow(callers or new_traceparent(), app, scope, receive, send)
            return
        method = method_of(scope)
        span = recorder.request(method, scope["scheme"], callers)
        status: int | None = None

        async def send_noting(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await _follow(span.traceparent, app, scope, receive, send_noting)
        finally:
            span.end(method, route_of(scope), status)

    return call


async def _follow(
    chosen: str, app: Asgi, scope: MutableMapping[str, Any], receive: Any, send: Any
) -> None:
    traceparent.set(chosen)
    with structlog.contextvars.bound_contextvars(trace_id=trace_id(chosen)):
        await app(scope, receive, send)
