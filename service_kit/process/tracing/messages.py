"""Turn the steps of messages into the bytes of their spans, many at once, from templates.

The SDK takes some fifty microseconds for a span, which is more than a consumer takes for a message.
The spans of one step have the same length, and differ only at certain places. So each template is
made once with the library's encoder, from recognizable values. For many messages it is repeated,
and then each byte of a place is written into all of them at once, as a column of a table is.

Guarantees: the bytes are those of OTLP ``ScopeSpans`` with one span each; put together, they are
one with all of them. Attributes and kinds follow OpenTelemetry's conventions for messages.
"""

import os
import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from service_kit.process.tracing.steps import Step

KINDS: Final = {
    "create": Span.SPAN_KIND_PRODUCER,  # its context is what the message carries
    "send": Span.SPAN_KIND_CLIENT,
    "process": Span.SPAN_KIND_CONSUMER,
}
"""The kind of a span by what is done."""

TEMPLATES_MAX: Final = 1_000
"""A few dozen are in use. Their memory stays bounded even if types of events were invented."""

RESOURCE_SPANS: Final = 0x0A
"""The field of a request that has the spans of a process: number 1, with its length."""

SCOPE_SPANS: Final = 0x12
"""The field of those that has the spans of one library: number 2, with its length."""

_KNOWN: Final = 0x100  # that it is known whether the parent is remote
_REMOTE: Final = 0x200

SPAN_ID_BYTES: Final = 8

_TRACE: Final = bytes.fromhex("5e1f7c3a9b2d4860e1f7c3a9b2d48605")
_SPAN: Final = bytes.fromhex("7c3a9b2d486051e9")
_PARENT: Final = bytes.fromhex("9b2d48605e1f7c3b")
_BEGAN: Final = bytes.fromhex("61482d9b3a7c1f5e")
_ENDED: Final = bytes.fromhex("62482d9b3a7c1f5e")
_MESSAGE: Final = "3d6d7a7e-0b3c-4f8e-9d53-6c1f0a5b7e21"
_DIGITS_OF_AN_ID: Final = 32

_CONTEXT_BYTES: Final = 26
_TRACE_AT: Final = 1
_PARENT_AT: Final = 17
"""A ``traceparent`` as bytes, without its hyphens: version, trace, parent, flags."""


class _Template(NamedTuple):
    """A span with recognizable values, and where each byte of these is, which may be twice."""

    span: bytes
    trace: list[list[int]]
    parent: list[list[int]]
    span_id: list[list[int]]
    message: list[list[int]]


class MessageSpans:
    """Renders spans, from templates that it keeps."""

    def __init__(self) -> None:
        self._templates: dict[Step, _Template] = {}

    def render(
        self,
        step: Step,
        traceparents: Sequence[str],
        message_ids: Sequence[UUID],
        span_ids: bytes,
        began: bytes,
        ended: bytes,
    ) -> bytes:
        """Return the spans of ``step`` for some messages.

        Parameters:
            step: what is done.
            traceparents: what each message carries, or leads to it: valid ones.
            message_ids: the events' ids; none if they are created, which is before they have one.
            span_ids: of the new spans, eight bytes each.
            began: nanoseconds since 1970 (``instant``), and ``ended`` as well.
        """
        template = self._templates.get(step)
        if template is None:
            template = _template(step)
            if len(self._templates) < TEMPLATES_MAX:
                self._templates[step] = template
        span = template.span.replace(_BEGAN, began).replace(_ENDED, ended)
        spans = bytearray(span * len(traceparents))
        contexts = bytes.fromhex("".join(traceparents).replace("-", ""))
        ids = b"".join([each.bytes for each in message_ids]).hex().encode()
        for places, values, first, each in (
            (template.trace, contexts, _TRACE_AT, _CONTEXT_BYTES),
            (template.parent, contexts, _PARENT_AT, _CONTEXT_BYTES),
            (template.span_id, span_ids, 0, SPAN_ID_BYTES),
            (template.message, ids, 0, _DIGITS_OF_AN_ID),
        ):
            for at, offsets in enumerate(places, first):
                column = values[at::each]
                for offset in offsets:
                    spans[offset :: len(span)] = column
        return bytes(spans)


def new_span_ids(count: int) -> bytes:
    """Make the ids of spans, eight bytes each; one in 2^64 is zeros, which is no id."""
    return os.urandom(SPAN_ID_BYTES * count)


def instant(nanoseconds: int) -> bytes:
    """Write a time as OTLP does."""
    return nanoseconds.to_bytes(8, "little")


def head(field: int, size: int) -> bytes:
    """Write what comes before a message of ``size`` bytes that is a field of another one."""
    written = bytearray([field])
    while size > 0x7F:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    written.append(size)
    return bytes(written)


def attribute(name: str, value: str | int) -> KeyValue:
    """Make an attribute."""
    is_text = isinstance(value, str)
    return KeyValue(
        key=name,
        value=AnyValue(string_value=str(value)) if is_text else AnyValue(int_value=int(value)),
    )


def _template(step: Step) -> _Template:
    # An event is created in the request whose span is the parent; later steps are elsewhere.
    is_created = step.operation == "create"
    flags = _KNOWN if is_created else _KNOWN | _REMOTE
    attributes: dict[str, str | int] = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": step.operation,
        "messaging.operation.type": step.operation,
        "messaging.destination.name": step.destination,
    }
    if step.routing_key:
        attributes["messaging.rabbitmq.destination.routing_key"] = step.routing_key
    if not is_created:
        attributes["messaging.message.id"] = _MESSAGE
    if step.server is not None:
        attributes["server.address"], attributes["server.port"] = step.server
    if step.outcome:
        attributes["usersync.outcome"] = step.outcome
    if step.is_error:
        attributes["error.type"] = step.outcome
    span = Span(
        trace_id=_TRACE,
        span_id=_SPAN,
        parent_span_id=_PARENT,
        flags=flags,
        name=f"{step.operation} {step.destination}",
        kind=KINDS[step.operation],
        start_time_unix_nano=int.from_bytes(_BEGAN, "little"),
        end_time_unix_nano=int.from_bytes(_ENDED, "little"),
        attributes=[attribute(*each) for each in attributes.items()],
        # The conventions ask for a link to what the message carries, with or without a parent.
        links=[Span.Link(trace_id=_TRACE, span_id=_PARENT, flags=flags)] if not is_created else [],
        status=Status(code=Status.STATUS_CODE_ERROR if step.is_error else Status.STATUS_CODE_UNSET),
    )
    rendered: bytes = ScopeSpans(spans=[span]).SerializeToString()
    hyphens = {at for at, digit in enumerate(_MESSAGE) if digit == "-"}
    return _Template(
        rendered,
        trace=_places(rendered, _TRACE),
        parent=_places(rendered, _PARENT),
        span_id=_places(rendered, _SPAN),
        message=_places(rendered, _MESSAGE.encode(), without=hyphens) if not is_created else [],
    )


def _places(span: bytes, value: bytes, without: Collection[int] = ()) -> list[list[int]]:
    """Where in ``span`` each byte of ``value`` is, except some of them."""
    starts = [found.start() for found in re.finditer(re.escape(value), span)]
    return [[start + at for start in starts] for at in range(len(value)) if at not in without]
