"""Install the middleware, error handlers and CORS policy that every API of ours has.

Every response, errors and probes included, has a request id and headers against caching and
sniffing. Every error is a problem document. Bodies have limits, and JSON is read strictly. Pages of
listed origins may call. The OpenAPI document lists the errors. Requests are counted and timed.

Guarantees: pure ASGI without buffering, so a streamed response stays streamed.

Not here: the request's head (``heads``) and the connection (``protocol``), which the server checks
before any application runs.
"""

from collections.abc import MutableMapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service_kit.http.body_limits import LimitedBody
from service_kit.http.errors import METHODS, Refusals, catch_unexpected, install_handlers
from service_kit.http.head_method import with_head
from service_kit.http.metrics import counted
from service_kit.http.openapi import describe_problems
from service_kit.http.strict_json import with_strict_json
from service_kit.http.tracing import traced
from service_kit.process.telemetry import Asgi, identified

SENT_BY_PAGES: Final = (
    "Authorization",
    "Content-Type",
    "Last-Event-ID",
    "X-Request-ID",
    "traceparent",
)
READ_BY_PAGES: Final = (
    "X-Request-ID",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "WWW-Authenticate",
    "User-Version",
)

PREFLIGHT_SECONDS: Final = 600
"""How long a browser may cache a preflight response; a changed list takes effect after that."""


def install(
    app: FastAPI,
    *,
    refusals: Refusals,
    cors_origins: Sequence[str],
    body_bytes_max: int,
    body_seconds_max: float,
) -> None:
    """Install it all in ``app``; routes may be added before or after.

    Parameters:
        app: has no middleware for the same things yet.
        refusals: the service's own errors, each with its problem.
        cors_origins: origins whose pages may call with credentials; without any, no CORS header is
            ever sent.
        body_bytes_max: the longest body, in bytes.
        body_seconds_max: how long a body may take to arrive, in seconds.
    """
    install_handlers(app, refusals)
    describe_problems(app)
    # Each one wraps those before it: the last one added sees a request first.
    app.add_middleware(with_strict_json)
    app.add_middleware(LimitedBody, bytes_max=body_bytes_max, seconds_max=body_seconds_max)
    app.add_middleware(catch_unexpected)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_credentials=True,
            allow_methods=METHODS,
            allow_headers=SENT_BY_PAGES,
            expose_headers=READ_BY_PAGES,
            max_age=PREFLIGHT_SECONDS,
        )
    app.add_middleware(security_headers)
    app.add_middleware(traced)
    app.add_middleware(identified)
    app.add_middleware(with_head)
    app.add_middleware(counted)
    # A redirect that adds or drops a last slash would take its host from the request's ``Host``,
    # which any client can choose.
    app.router.redirect_slashes = False


def security_headers(app: Asgi) -> Asgi:
    """Middleware (ASGI): forbid caching unless the route allows it, and content sniffing.

    ``Cache-Control: no-store`` (RFC 9111 5.2.2.5), since most responses are about one user;
    ``X-Content-Type-Options: nosniff``, since a browser must not run what a user wrote as a page.
    """

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        await app(scope, receive, send_with_headers)

    return call
