"""Send spans to the collector, from a thread of its own.

Guarantees: ``put`` and ``put_messages`` never wait. While the collector is away or slow, at most
``QUEUE_SPANS`` wait; what comes then is dropped and counted. One line in the log says that spans
are not sent, and why, and one that they are again. The end takes ``FLUSH_SECONDS_MAX`` at most.
"""

import os
import threading
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from prometheus_client import Counter

from service_kit.process.tracing.messages import (
    RESOURCE_SPANS,
    SCOPE_SPANS,
    attribute,
    head,
)

log = structlog.get_logger()

QUEUE_SPANS: Final = 20_000
"""Spans that may wait, ten megabytes of messages' spans: about a second of the fastest consumer.
``OTEL_BSP_MAX_QUEUE_SIZE`` is another number."""

REQUEST_SPANS: Final = 8_192
"""Spans of one request to the collector, four megabytes, of which collectors accept five times as
much. ``OTEL_BSP_MAX_EXPORT_BATCH_SIZE`` is another number."""

DELAY_MILLISECONDS: Final = 1_000
"""How long spans wait for others; ``OTEL_BSP_SCHEDULE_DELAY`` is another number."""

FLUSH_SECONDS_MAX: Final = 3.0
"""How long the end of a process may be delayed by spans that are not sent yet."""

SCOPE: Final = "usersync"
"""What recorded the spans, as OpenTelemetry asks to name it."""

_SCOPE: Final[bytes] = ScopeSpans(scope=InstrumentationScope(name=SCOPE)).SerializeToString()

counted: Final = Counter(
    "usersync_spans",
    "Spans by result: sent; dropped, since too many waited; failed, not accepted by the collector",
    ["result"],
)


class Sender:
    """Sends what it is given, about once a second, until it is ended."""

    def __init__(self, resource: Resource) -> None:
        """``resource`` describes the process. The collector's address is in the environment."""
        attributes = [attribute(name, str(value)) for name, value in resource.attributes.items()]
        self._resource: bytes = ResourceSpans(
            resource=ResourceMessage(attributes=attributes)
        ).SerializeToString()
        self._queue_spans = _number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS)
        self._request_spans = _number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", REQUEST_SPANS)
        self._delay = _number("OTEL_BSP_SCHEDULE_DELAY", DELAY_MILLISECONDS) / 1_000
        self._exporter = OTLPSpanExporter()
        # What is put, each with its number of spans: appended here, taken by the thread.
        self._waiting: deque[tuple[int, ReadableSpan | bytes]] = deque()
        self._put_spans = 0
        self._taken_spans = 0
        self._wake = threading.Event()
        self._ending = False
        self._is_failing = False
        run = copy_context().run  # the log names the process by its context
        self._thread = threading.Thread(target=run, args=(self._run,), name="spans", daemon=True)
        self._thread.start()

    def put(self, span: ReadableSpan) -> None:
        """Send a span that the SDK has recorded."""
        self._put(1, span)

    def put_messages(self, count: int, spans: bytes) -> None:
        """Send ``count`` spans that ``messages`` has rendered, all or none."""
        self._put(count, spans)

    def end(self) -> None:
        """Send what waits, within ``FLUSH_SECONDS_MAX``."""
        self._ending = True
        self._wake.set()
        self._thread.join(FLUSH_SECONDS_MAX)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _put(self, count: int, spans: ReadableSpan | bytes) -> None:
        waiting = self._put_spans - self._taken_spans + count
        if waiting > self._queue_spans:
            counted.labels("dropped").inc(count)
            return
        self._put_spans += count
        self._waiting.append((count, spans))
        if waiting >= self._request_spans:
            self._wake.set()

    def _run(self) -> None:
        while not self._ending:
            self._wake.wait(self._delay)
            self._wake.clear()
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while self._waiting:
            count, spans = self._take()
            trouble = self._send(spans)
            counted.labels("failed" if trouble else "sent").inc(count)
            if trouble and not self._is_failing:
                log.warning("traces.not_sent", reason=trouble)
            elif self._is_failing and not trouble:
                log.info("traces.sent_again")
            self._is_failing = bool(trouble)

    def _take(self) -> tuple[int, list[ReadableSpan | bytes]]:
        """Take what one request sends, and how many spans that is."""
        count, taken = 0, []
        while self._waiting and count < self._request_spans:
            number, spans = self._waiting.popleft()
            count += number
            taken.append(spans)
        self._taken_spans += count
        return count, taken

    def _send(self, spans: Sequence[ReadableSpan | bytes]) -> str | None:
        """Send one request; return why the collector did not accept it, or None."""
        try:
            recorded = [each for each in spans if not isinstance(each, bytes)]
            rendered = [each for each in spans if isinstance(each, bytes)]
            request = [encode_spans(recorded).SerializeToString()] if recorded else []
            if rendered:
                request.append(self._head(sum(map(len, rendered))))
            return self._post(b"".join(request + rendered))
        except Exception as error:  # nothing that happens here may end the thread
            return type(error).__name__

    def _head(self, size: int) -> bytes:
        """Write what comes before ``size`` bytes of rendered spans: one copy is enough of those."""
        of_scope = head(SCOPE_SPANS, len(_SCOPE) + size) + _SCOPE
        of_process = self._resource + of_scope
        return head(RESOURCE_SPANS, len(of_process) + size) + of_process

    def _post(self, body: bytes) -> str | None:
        """Send bytes; the exporter itself accepts only spans of the SDK."""
        answer = self._exporter._client.export(body)  # noqa: SLF001 - see above
        if answer.success:
            return None
        return str(answer.status_code or type(answer.error).__name__)


def _number(variable: str, default: int) -> int:
    """Read a positive number from the environment; anything else is the default."""
    given = os.environ.get(variable, "")
    return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else default
