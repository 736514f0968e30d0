"""Write logs, and know which request is at hand, the same way in every process.

Logs are JSON lines on standard output: a constant ``event`` to match on, dotted or OWASP's name,
and fields. No payload, token, password or e-mail address is ever a field. Each request has an id,
which the caller and the log share, and a trace, which ``service_kit.http.tracing`` follows.
"""

import logging
import re
import secrets
import sys
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, Final
from uuid import uuid4

import structlog

traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The trace of the request at hand; None outside a request."""

REQUEST_ID: Final = b"x-request-id"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request at hand; None outside a request."""

Asgi = Callable[[MutableMapping[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]


def configure_logging(process: str) -> None:
    """Send structlog's and every library's log lines to standard output, as JSON.

    ``process`` is the name by which operators know it, such as ``auth-service relay``.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _frames_without_message,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # aio-pika reports each refused connection as an error; our own loops say it once.
    # OpenTelemetry's exporter does so for each attempt to reach the collector.
    for noisy in ("aio_pika", "aiormq", "opentelemetry"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # httpx writes a line for every request that it makes.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(process=process)


def _frames_without_message(
    _: Any, __: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Log an exception's type and frames; its message may quote data, such as an e-mail address."""
    info = fields.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        fields["error"] = type(error).__name__
        fields["frames"] = [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
    return fields


def identified(app: Asgi) -> Asgi:
    """Middleware (ASGI): give each request an id, in its response and in its log lines.

    The caller's ``X-Request-ID`` is used if it has 1 to 128 letters, digits, dots, hyphens or
    underscores, which are safe wherever they are written; otherwise a new id.
    """

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        sent = next((value for name, value in scope["headers"] if name == REQUEST_ID), b"")
        chosen = sent.decode() if _REQUEST_ID.fullmatch(sent) else new_request_id()

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                message["headers"] = [*headers, (REQUEST_ID, chosen.encode())]
            await send(message)

        token = request_id.set(chosen)
        try:
            with structlog.contextvars.bound_contextvars(request_id=chosen):
                await app(scope, receive, send_with_id)
        finally:
            request_id.reset(token)
            structlog.contextvars.unbind_contextvars("user_id")  # which ``bearer`` has bound

    return call


def new_request_id() -> str:
    """Make an id for a request that has none."""
    return str(uuid4())


def new_traceparent() -> str:
    """Start a new trace, not sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
