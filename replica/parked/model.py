"""The model of parked messages for operators. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.sync.merge import Outcome
from replica.inbox.faults import Verdict
from service_kit.process.errors import OperatorError


class NoSuchMessage(OperatorError):
    """No message with this id is parked."""

    def __init__(self, parked_id: int) -> None:
        super().__init__(f"no message {parked_id} is parked; list them with `parked list`")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedGroup:
    """Messages that were parked for the same reason and name the same type, or no type (None)."""

    reason: str
    event_type: str | None
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedMessage:
    """A parked message without its content.

    ``user_id`` is None without an identifiable user, ``event_type`` and ``event_id`` if the headers
    have none; ``erased`` means that the body was erased because the user was deleted.
    """

    id: int
    reason: str
    error: str
    user_id: UUID | None
    event_type: str | None
    event_id: UUID | None
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    erased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeMessage(ParkedMessage):
    """A parked message as received.

    ``properties`` and ``headers`` represent AMQP's types as ``inbox.amqp_as_json`` does.
    ``body_encoding`` says how ``body`` represents its bytes. ``body_bytes`` is the size of the
    whole body, of which a very long one is shown in part. All three are None once the body is
    erased; of a body that was too large to store, only the size is known.
    """

    exchange: str
    routing_key: str
    properties: Mapping[str, Any]
    headers: Mapping[str, Any]
    body: str | None
    body_encoding: str | None
    body_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """The result of redriving a message; ``failure`` says why it stays parked, if it does.

    ``ids`` are those of its event, for a log line; none if another session has locked the message.
    """

    id: int
    outcome: Outcome
    failure: Verdict | None = None
    ids: Mapping[str, str] = field(default_factory=dict)
