"""Turn events into the bytes that publish them, from templates.

Encoding a message again and again costs more than sending it, though little in it changes. A
template is made with ``encode_stored`` and the client library's encoder, from an event with
recognizable values, which the values of each event then replace.

Guarantees: the bytes are those that the client library would send for ``encode_stored``'s message.
An event whose values do not fit a template is encoded in that way.
"""

import struct
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import pamqp.frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from contracts.events.envelope import StoredEvent, encode_stored
from contracts.events.models import rfc3339
from service_kit.broker.frames import body_frames

_NUMBER: Final = struct.Struct(">Q")

_TRACEPARENT_BYTES: Final = 55

_ID: Final = UUID("3d6d7a7e-0b3c-4f8e-9d53-6c1f0a5b7e21")
_USER: Final = UUID("b8f1c2d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
_TIME: Final = datetime(1987, 6, 5, 4, 3, 2, 123457, tzinfo=UTC)
_POSITION: Final = 8765432109876543
_VERSION: Final = 1234567890123457
_TRACEPARENT: Final = "00-5e1f7c3a9b2d4860e1f7c3a9b2d48605-5e1f7c3a9b2d4860-00"
_SIZE: Final = 0x5E1F7C3A9B2D4860

_PLACES: Final = {
    b"id": str(_ID).encode(),
    b"user": str(_USER).encode(),
    b"time": rfc3339(_TIME).encode(),
    b"position": b"%020d" % _POSITION,
    b"version": b"%016d" % _VERSION,
    b"trace": _TRACEPARENT.encode(),
    b"size": _NUMBER.pack(_SIZE),
}

_Key = tuple[str, str, bool, bool, bool, bool, bool]


class Renderer:
    """Renders events of one source for one exchange and channel."""

    def __init__(self, *, source: str, exchange: str, channel: int, body_bytes_max: int) -> None:
        """``body_bytes_max``: the most that one frame of a body may carry."""
        self._source = source
        self._exchange = exchange
        self._channel = channel
        self._body_bytes_max = body_bytes_max
        self._templates: dict[_Key, bytes] = {}

    def render(self, event: StoredEvent, routing_key: str) -> bytes:
        """Return all frames that publish ``event``."""
        traceparent = b"" if event.traceparent is None else event.traceparent.encode()
        if event.traceparent is not None and len(traceparent) != _TRACEPARENT_BYTES:
            return self._encode(event, routing_key)
        key = (
            event.type,
            routing_key,
            event.position is None,
            event.user_id is None,
            event.version is None,
            event.traceparent is None,
            event.is_urgent,
        )
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = self._template(key)
        body = (event.payload or "{}").encode()
        frames = template % {
            b"id": str(event.event_id).encode(),
            b"user": str(event.user_id).encode(),
            b"time": rfc3339(event.occurred_at).encode(),
            b"position": b"%020d" % (event.position or 0),
            b"version": b"%016d" % (event.version or 0),
            b"trace": traceparent,
            b"size": _NUMBER.pack(len(body)),
        }
        return frames + body_frames(self._channel, body, self._body_bytes_max)

    def _encode(self, event: StoredEvent, routing_key: str) -> bytes:
        """Encode ``event`` without a template."""
        body = encode_stored(event, source=self._source).body
        head = self._head(event, routing_key, len(body))
        return head + body_frames(self._channel, body, self._body_bytes_max)

    def _template(self, key: _Key) -> bytes:
        kind, routing_key, has_no_position, has_no_user, has_no_version, has_no_trace, urgent = key
        event = StoredEvent(
            event_id=_ID,
            type=kind,
            occurred_at=_TIME,
            payload=None,
            position=None if has_no_position else _POSITION,
            user_id=None if has_no_user else _USER,
            version=None if has_no_version else _VERSION,
            traceparent=None if has_no_trace else _TRACEPARENT,
            is_urgent=urgent,
        )
        template = self._head(event, routing_key, _SIZE).replace(b"%", b"%%")
        for name, value in _PLACES.items():
            template = template.replace(value.replace(b"%", b"%%"), b"%%(%b)b" % name)
        return template

    def _head(self, event: StoredEvent, routing_key: str, size: int) -> bytes:
        """Encode the frames before the body."""
        publish = Basic.Publish(exchange=self._exchange, routing_key=routing_key, mandatory=True)
        header = ContentHeader(
            properties=encode_stored(event, source=self._source).properties, body_size=size
        )
        return b"".join(pamqp.frame.marshal(frame, self._channel) for frame in (publish, header))
