"""Turn the steps of messages into the bytes of their spans, from templates.

The SDK takes some fifty microseconds for a span, which is more than a consumer takes for a message.
The spans of messages differ in little: so each is made with the library's encoder once, from
recognizable values, which the values of each message then replace.

Guarantees: the bytes are those of an OTLP ``ScopeSpans`` with the one span; put together, they are
one with all of them. Attributes and kinds follow OpenTelemetry's conventions for messages.
"""

import random
from typing import Final
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

_TRACE: Final = bytes.fromhex("5e1f7c3a9b2d4860e1f7c3a9b2d48605")
_SPAN: Final = bytes.fromhex("7c3a9b2d486051e9")
_PARENT: Final = bytes.fromhex("9b2d48605e1f7c3b")
_BEGAN: Final = 0x5E1F7C3A9B2D4861
_ENDED: Final = 0x5E1F7C3A9B2D4862
_MESSAGE: Final = UUID("3d6d7a7e-0b3c-4f8e-9d53-6c1f0a5b7e21")

_PLACES: Final = {
    b"trace": _TRACE,
    b"span": _SPAN,
    b"parent": _PARENT,
    b"began": _BEGAN.to_bytes(8, "little"),
    b"ended": _ENDED.to_bytes(8, "little"),
    b"message": str(_MESSAGE).encode(),
}


class MessageSpans:
    """Renders spans, from templates that it keeps."""

    def __init__(self) -> None:
        self._templates: dict[Step, bytes] = {}

    def render(
        self,
        step: Step,
        traceparent: str,
        message_id: UUID | None,
        span_id: bytes,
        began: bytes,
        ended: bytes,
    ) -> bytes:
        """Return the span of ``step`` for one message.

        Parameters:
            step: what is done.
            traceparent: what the message carries, or leads to it: a valid one.
            message_id: the event's id, which is not known yet when it is created.
            span_id: of the new span, eight bytes.
            began: nanoseconds since 1970 (``instant``), and ``ended`` as well.
        """
        template = self._templates.get(step)
        if template is None:
            template = _template(step)
            if len(self._templates) < TEMPLATES_MAX:
                self._templates[step] = template
        return template % {
            b"trace": bytes.fromhex(traceparent[3:35]),
            b"span": span_id,
            b"parent": bytes.fromhex(traceparent[36:52]),
            b"began": began,
            b"ended": ended,
            b"message": str(message_id).encode(),
        }


def new_span_id() -> bytes:
    """Make the id of a span; zeros would be none."""
    return (random.getrandbits(64) or 1).to_bytes(8, "big")


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


def _template(step: Step) -> bytes:
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
        attributes["messaging.message.id"] = str(_MESSAGE)
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
        start_time_unix_nano=_BEGAN,
        end_time_unix_nano=_ENDED,
        attributes=[attribute(*each) for each in attributes.items()],
        # The conventions ask for a link to what the message carries, with or without a parent.
        links=[Span.Link(trace_id=_TRACE, span_id=_PARENT, flags=flags)] if not is_created else [],
        status=Status(code=Status.STATUS_CODE_ERROR if step.is_error else Status.STATUS_CODE_UNSET),
    )
    template: bytes = ScopeSpans(spans=[span]).SerializeToString().replace(b"%", b"%%")
    for name, value in _PLACES.items():
        template = template.replace(value.replace(b"%", b"%%"), b"%%(%b)b" % name)
    return template
