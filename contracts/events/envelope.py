"""Event to message and back: CloudEvents 1.0 in binary mode, over AMQP 0-9-1.

Attributes travel as headers named ``cloudEvents_<name>`` (RabbitMQ maps them to AMQP 1.0
application properties of the same name), the data as the JSON body.

Guarantees: ``decode`` returns what ``encode`` was given. It reads both spellings of header names
that the AMQP binding allows. It reads a deletion from its headers alone, so that a schema change
cannot block it. A message that cannot be read raises ``Undecodable`` with a stable reason, and
nothing else.

Not here: publishing and consuming.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from aio_pika import DeliveryMode, Message
from pydantic import ValidationError

from contracts.events import (
    DATA_OF,
    VERSION_MAX,
    Beat,
    Event,
    Heartbeat,
    KeyRevoked,
    RevokedKey,
    ServiceChanged,
    ServiceState,
    UserCreated,
    UserDeleted,
    UserState,
    UserTombstone,
    UserUpdated,
    dataschema,
    read_rfc3339,
    rfc3339,
)
from contracts.events.names import URGENT_BINDING
from contracts.traceparent import trace_id

BODY_BYTES_MAX: Final = 64 * 1024
"""CloudEvents asks every hop to carry 64 KiB; our events need under one."""

ATTRIBUTE_LENGTH_MAX: Final = 512
"""The longest text in a header; our longest is an issuer's address."""

CONTENT_TYPE: Final = "application/json"
SPEC_VERSION: Final = "1.0"

_PREFIX: Final = "cloudEvents_"
_ALTERNATIVE_PREFIX: Final = "cloudEvents:"


DataModel = TypeVar("DataModel", UserState, Beat, RevokedKey, ServiceState)

Read = Callable[[str], Any]
"""Reads an attribute of a message by its name; None when it is not there."""


class Carrier(Protocol):
    """Any AMQP message, aio-pika's or a bare delivery."""

    @property
    def headers(self) -> Mapping[str, Any] | None:
        """The header table."""

    @property
    def body(self) -> bytes:
        """The payload."""


class Fault(StrEnum):
    """Why a message cannot be read; stable, shown to operators."""

    NOT_A_CLOUD_EVENT = "not_a_cloud_event"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_SCHEMA = "unknown_schema"
    INVALID_ATTRIBUTE = "invalid_attribute"
    INVALID_DATA = "invalid_data"
    TOO_LARGE = "too_large"


class Undecodable(ValueError):
    """This version cannot read the message; ``fault`` is the reason.

    The text is stored and shown, so it names fields and rules but no values.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event whose data is JSON text already, as a source's log stores it.

    ``payload`` is None once it has been erased. ``position`` is the place in the log, None for what
    was never recorded there. ``user_id`` and ``version`` are None for an event about no user. Of an
    urgent event the broker makes a copy for the queues that are read first.
    """

    event_id: UUID
    type: str
    occurred_at: datetime
    payload: str | None
    position: int | None = None
    user_id: UUID | None = None
    version: int | None = None
    traceparent: str | None = None
    is_urgent: bool = False

    @property
    def ids(self) -> dict[str, str]:
        """The event's ids, for a log line."""
        return _ids(self.event_id, self.user_id, self.traceparent)


def encode(event: Event) -> Message:
    """Make the persistent message that carries ``event``."""
    stored = StoredEvent(
        event_id=event.id,
        type=event.type,
        occurred_at=event.time,
        payload=event.data.model_dump_json(),
        position=event.sequence,
        user_id=event.data.subject,
        version=event.data.subject_version,
        traceparent=event.traceparent,
    )
    return encode_stored(stored, source=event.source)


def encode_stored(event: StoredEvent, *, source: str) -> Message:
    """Make the persistent message that carries ``event`` of ``source``, its payload unparsed.

    So a field that a newer writer recorded passes through an older relay unharmed. An erased
    payload becomes ``{}``: a deletion is read from its headers alone.
    """
    headers: dict[str, Any] = {
        "cloudEvents_specversion": SPEC_VERSION,
        "cloudEvents_id": str(event.event_id),
        "cloudEvents_source": source,
        "cloudEvents_type": event.type,
        "cloudEvents_time": rfc3339(event.occurred_at),
        "cloudEvents_dataschema": dataschema(event.type),
    }
    if event.position is not None:
        headers["cloudEvents_sequence"] = f"{event.position:020d}"
    if event.user_id is not None:
        headers["cloudEvents_subject"] = str(event.user_id)
    if event.version is not None:
        headers["cloudEvents_subjectversion"] = f"{event.version:016d}"
    if event.traceparent is not None:
        headers["cloudEvents_traceparent"] = event.traceparent
    if event.is_urgent:
        headers["BCC"] = [URGENT_BINDING]
    return Message(
        (event.payload or "{}").encode(),
        headers=headers,
        content_type=CONTENT_TYPE,
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=str(event.event_id),
    )


def decode(message: Carrier) -> Event:
    """Read the event that ``message`` carries.

    Raises:
        Undecodable: the message is not an event of a known type and major schema.
    """
    read = _reader(message.headers or {})
    if read("specversion") != SPEC_VERSION:
        raise Undecodable(Fault.NOT_A_CLOUD_EVENT, "no CloudEvents 1.0 headers")
    event_type = read("type")
    if not isinstance(event_type, str) or event_type not in DATA_OF:
        raise Undecodable(Fault.UNKNOWN_TYPE, "this version does not know the event's type")
    common = _common(read)
    if event_type == Heartbeat.type:
        return Heartbeat(**common, data=_data(Beat, event_type, read, message.body))
    if event_type == KeyRevoked.type:
        return KeyRevoked(**common, data=_data(RevokedKey, event_type, read, message.body))
    if event_type == ServiceChanged.type:
        return ServiceChanged(**common, data=_data(ServiceState, event_type, read, message.body))
    subject = _uuid(read("subject"), "subject")
    version = _optional_integer(read("subjectversion"), "subjectversion", at_least=1)
    if event_type == UserDeleted.type:
        if version is None:
            raise Undecodable(Fault.INVALID_ATTRIBUTE, "a deletion needs subjectversion")
        tombstone = UserTombstone(id=subject, version=version, deleted_at=common["time"])
        return UserDeleted(**common, data=tombstone)
    state = _data(UserState, event_type, read, message.body)
    if state.id != subject or version not in (None, state.version):
        raise Undecodable(Fault.INVALID_DATA, "the data's id or version is not the headers'")
    if event_type == UserCreated.type:
        return UserCreated(**common, data=state)
    return UserUpdated(**common, data=state)


def too_large() -> Undecodable:
    """The refusal of a body that is longer than any event."""
    return Undecodable(Fault.TOO_LARGE, f"the body has more than {BODY_BYTES_MAX} bytes")


def legible_user(message: Carrier) -> UUID | None:
    """Return the user that ``message`` names in its headers or data, even if it cannot be decoded.

    Never raises. None if it names no user, or several: erasing the messages of one of them would
    miss the other.
    """
    headers = message.headers or {}
    named = [
        headers.get(prefix + name)
        for name in ("subject", "partitionkey")
        for prefix in (_PREFIX, _ALTERNATIVE_PREFIX)
    ]
    users = set()
    for value in (*named, _id_in(message.body)):
        with suppress(Undecodable):
            users.add(_uuid(value, "subject"))
    return users.pop() if len(users) == 1 else None


def legible_type(message: Carrier) -> str | None:
    """Return the event type that ``message`` names, known or unknown; never raises."""
    named = _reader(message.headers or {})("type")
    return named[:ATTRIBUTE_LENGTH_MAX] if isinstance(named, str) else None


def legible_ids(message: Carrier) -> dict[str, str]:
    """Return the ids that ``message`` names, for a log line, even if it cannot be decoded.

    Never raises. What has not the form of an id is left out, so that no content gets into a log.
    """
    read = _reader(message.headers or {})
    event_id = None
    with suppress(Undecodable):
        event_id = _uuid(read("id"), "id")
    return _ids(event_id, legible_user(message), read("traceparent"))


def _ids(event_id: UUID | None, user_id: UUID | None, traceparent: object) -> dict[str, str]:
    ids = {"event_id": event_id, "user_id": user_id, "trace_id": trace_id(traceparent)}
    return {name: str(value) for name, value in ids.items() if value is not None}


def _id_in(body: bytes) -> object:
    try:
        data = json.loads(body) if len(body) <= BODY_BYTES_MAX else None
    except (ValueError, RecursionError):
        return None
    return data.get("id") if isinstance(data, dict) else None


def _reader(headers: Mapping[str, Any]) -> Read:
    """Make a function that reads an attribute in the spelling that the message uses."""
    prefix = _PREFIX if f"{_PREFIX}specversion" in headers else _ALTERNATIVE_PREFIX
    return lambda name: headers.get(prefix + name)


def _common(read: Read) -> dict[str, Any]:
    """Read the attributes that all event types have."""
    traceparent = read("traceparent")
    return {
        "id": _uuid(read("id"), "id"),
        "source": _text(read("source"), "source"),
        "time": _time(read("time")),
        "sequence": _optional_integer(read("sequence"), "sequence", at_least=0),
        "traceparent": traceparent if isinstance(traceparent, str) else None,
    }


def _data(model: type[DataModel], event_type: str, read: Read, body: bytes) -> DataModel:
    if len(body) > BODY_BYTES_MAX:
        raise too_large()
    if read("dataschema") not in (None, dataschema(event_type)):
        raise Undecodable(Fault.UNKNOWN_SCHEMA, "this version does not know the data's schema")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise Undecodable(Fault.INVALID_DATA, _summary(error)) from None


def _text(value: object, name: str) -> str:
    if isinstance(value, str) and 0 < len(value) <= ATTRIBUTE_LENGTH_MAX:
        return value
    raise Undecodable(Fault.INVALID_ATTRIBUTE, f"{name} is missing, not text, or too long")


def _uuid(value: object, name: str) -> UUID:
    try:
        return UUID(_text(value, name))
    except ValueError as error:
        raise Undecodable(Fault.INVALID_ATTRIBUTE, f"{name} is not a UUID") from error


def _time(value: object) -> datetime:
    """Read an RFC 3339 string or an AMQP timestamp; the binding allows both."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        return read_rfc3339(_text(value, "time"))
    except ValueError as error:
        raise Undecodable(Fault.INVALID_ATTRIBUTE, "time is not an RFC 3339 time") from error


def _optional_integer(value: object, name: str, *, at_least: int) -> int | None:
    """Read a number, or the digits of a string; sequence and version are strings of fixed width."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value) if type(value) is int else ""
    if len(text) <= 20 and text.isascii() and text.isdigit():
        number = int(text)
        if at_least <= number <= VERSION_MAX:
            return number
    raise Undecodable(Fault.INVALID_ATTRIBUTE, f"{name} is not a number from {at_least} to 2^53-1")


def _summary(error: ValidationError) -> str:
    """Name the fields and the rules that they break; values may be personal data."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['type']}"
        for problem in problems[:5]
    )
