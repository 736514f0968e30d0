"""Parked messages as operators meet them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.sync.merge import Outcome
from replica.inbox.faults import Verdict
from service_kit.process.errors import OperatorError


class NoSuchMessage(OperatorError):
    """No message with this id is parked, or not any more."""

    def __init__(self, parked_id: int) -> None:
        super().__init__(f"no message {parked_id} is parked; list them with `parked list`")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedMessage:
    """A parked message without what is in it.

    ``user_id`` is None when no user is legible in it, ``event_type`` when it names none;
    ``erased``: its body is gone, for its user was deleted.
    """

    id: int
    reason: str
    error: str
    user_id: UUID | None
    event_type: str | None
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    erased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeMessage(ParkedMessage):
    """A parked message as it came.

    ``properties`` and ``headers`` have AMQP's types in the form of ``inbox.amqp_as_json``;
    ``body_encoding`` says how the octets of ``body`` are written here, and ``body_bytes`` how many
    it had: more than are shown when it is a very long one. All three are None once it is erased; of
    a body that was too large to keep, its size alone is known.
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
    """What redriving did to one message; ``failure`` says why it stays parked, if it does."""

    id: int
    outcome: Outcome
    failure: Verdict | None = None
