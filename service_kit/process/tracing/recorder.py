"""Record the spans of this process: those of requests with the SDK, those of messages in bulk.

The SDK decides by ``OTEL_TRACES_SAMPLER`` which requests are sampled. A message is what its
``traceparent`` says, so a trace is recorded in all processes or in none.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from contracts.traceparent import is_sampled
from service_kit.process.tracing.messages import MessageSpans, instant, new_span_ids
from service_kit.process.tracing.sender import SCOPE, Sender
from service_kit.process.tracing.steps import Step

_FAILED: Final = 500
"""From this status on a response means that the request failed here, not at the caller."""


class Recorder:
    """Records spans, and sends them."""

    def __init__(self, process: str) -> None:
        """``process`` names the service, unless the environment does."""
        resource = _resource(process)
        self._sender = Sender(resource)
        self._messages = MessageSpans()
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(_To(self._sender))
        self._tracer = provider.get_tracer(SCOPE)

    def request(self, method: str, scheme: str, traceparent: str | None) -> "RequestSpan":
        """Begin the span of a request.

        Parameters:
            method: by its name, or ``other``.
            scheme: ``http`` or ``https``.
            traceparent: the caller's, if it is valid.
        """
        name = "_OTHER" if method == "other" else method
        span = self._tracer.start_span(
            "HTTP" if method == "other" else method,
            context=_context(traceparent),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": name, "url.scheme": scheme},
        )
        return RequestSpan(span)

    def created(self, step: Step, traceparent: str) -> str:
        """Record that an event was made; return what its message is to carry.

        ``traceparent`` is the request's. One that is not sampled is passed on as it is.
        """
        if not is_sampled(traceparent):
            return traceparent
        span_id, now = new_span_ids(1), instant(time.time_ns())
        span = self._messages.render(step, [traceparent], (), span_id, now, now)
        self._sender.put_messages(1, span)
        return f"{traceparent[:36]}{span_id.hex()}{traceparent[52:]}"

    def handled(self, done: Mapping[Step, Sequence[tuple[str, UUID]]], *, began: int) -> None:
        """Record what has just been done with messages whose trace is sampled.

        Parameters:
            done: for each step, the ``traceparent`` and the id of the messages.
            began: when it began, in nanoseconds since 1970.
        """
        start, now = instant(began), instant(time.time_ns())
        for step, messages in done.items():
            traceparents, ids = zip(*messages, strict=True)
            span_ids = new_span_ids(len(ids))
            spans = self._messages.render(step, traceparents, ids, span_ids, start, now)
            self._sender.put_messages(len(ids), spans)

    def end(self) -> None:
        """Send what is recorded, within limited time."""
        self._sender.end()


class RequestSpan:
    """The span of a request."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """What leads to this span; its last digit says whether it is sampled."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, method: str, route: str | None, status: int | None) -> None:
        """End it.

        Parameters:
            method: as at the beginning.
            route: the template of the path; None if no route responded.
            status: of the response; None if there was none.
        """
        span = self._span
        if route is not None:
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if status is None or status >= _FAILED:
            span.set_attribute("error.type", str(status or "no_response"))
            span.set_status(StatusCode.ERROR)
        span.end()


class _To(SpanProcessor):
    """Hands the SDK's spans to a sender."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._sender.put(span)


def _resource(process: str) -> Resource:
    """Describe the process; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` may as well."""
    found = Resource.create()
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: process}))
    return found


def _context(traceparent: str | None) -> Context:
    """The context whose current span is the caller's, and nothing else of this process."""
    if traceparent is None:
        return Context()
    _, trace_id, span_id, flags = traceparent.split("-")
    caller = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return set_span_in_context(NonRecordingSpan(caller), Context())
