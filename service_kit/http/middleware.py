"""What both services owe to whoever talks to them over HTTP, installed by one call.

Each answer, errors and probes included, has a request id and headers that keep it out of caches
and wrong hands; each error is a problem document; bodies are limited, and strict where they are
JSON; pages of listed origins may call; the OpenAPI document tells what may go wrong; requests are
counted and timed.

Guarantees: pure ASGI, nothing is collected: an answer that is streamed stays streamed.

Not here: the request's head (``http_heads``) and the connection (``http_protocol``), which a server
meets before any application.
"""

from collections.abc import MutableMapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service_kit.http.body_limits import LimitedBody
from service_kit.http.errors import METHODS, Refusals, answer_with_problems, without_surprises
from service_kit.http.head_method import with_head
from service_kit.http.metrics import counted
from service_kit.http.openapi import describe_problems
from service_kit.http.strict_json import with_strict_json
from service_kit.process.telemetry import Asgi, identified, traced

SENT_BY_PAGES: Final = ("Authorization", "Content-Type", "X-Request-ID", "traceparent")
READ_BY_PAGES: Final = (
    "X-Request-ID",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "WWW-Authenticate",
)

PREFLIGHT_SECONDS: Final = 600
"""How long a browser may remember what a preflight answered; a changed list counts after that."""


def polish(
    app: FastAPI,
    *,
    refusals: Refusals,
    cors_origins: Sequence[str],
    body_bytes_max: int,
    body_seconds_max: float,
) -> None:
    """Give ``app`` its manners; routes may be added before or after.

    Parameters:
        app: without middleware of its own for the same things.
        refusals: the service's own errors, and how each is answered.
        cors_origins: the origins whose pages may call, with credentials; of none, no header about
            it is ever sent.
        body_bytes_max: the longest body.
        body_seconds_max: how long a body may take to arrive.
    """
    answer_with_problems(app, refusals)
    describe_problems(app)
    # Each one wraps those before it: the last is the first to see a request.
    app.add_middleware(with_strict_json)
    app.add_middleware(LimitedBody, bytes_max=body_bytes_max, seconds_max=body_seconds_max)
    app.add_middleware(without_surprises)
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
    app.add_middleware(guarded)
    app.add_middleware(traced)
    app.add_middleware(identified)
    app.add_middleware(with_head)
    app.add_middleware(counted)
    # A redirect to the same path with or without its last slash would take its host from the
    # request's ``Host``: anybody's choice.
    app.router.redirect_slashes = False


def guarded(app: Asgi) -> Asgi:
    """Middleware (ASGI): no cache keeps an answer unless its route says so, no browser guesses.

    ``Cache-Control: no-store`` (RFC 9111 5.2.2.5), since most answers are about one user;
    ``X-Content-Type-Options: nosniff``, since what a user wrote must not be taken for a page.
    """

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        await app(scope, receive, send_guarded)

    return call
