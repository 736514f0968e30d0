"""Messages of the vectors, and the rows that follow from them. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

from contracts.events import UserState, UserTombstone, rfc3339
from contracts.events.envelope import StoredEvent, encode_stored
from contracts.sync.merge import State

SOURCE: Final = "https://auth.example"
NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)

_NAMESPACE: Final = UUID("5f1c0c3e-6a0b-4a8e-9d0b-7b1f7c0f2d11")

Body = str | Mapping[str, Any]
"""Text; or ``{"base64": …}``; or ``{"repeat": text, "times": n}``, which keeps the files small."""


def id_of(name: str) -> UUID:
    """The id of the user, or of the event, that has this name in the vectors."""
    return uuid5(_NAMESPACE, name)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as AMQP has it; a header's value may be ``{"timestamp": seconds since 1970}``."""

    routing_key: str
    headers: Mapping[str, Any]
    body: Body
    message_id: str
    content_type: str = "application/json"
    delivery_mode: int = field(default=2)

    @property
    def octets(self) -> bytes:
        """The body."""
        return octets_of(self.body)

    def as_json(self) -> dict[str, Any]:
        """The message in the files."""
        properties = {
            "content_type": self.content_type,
            "delivery_mode": self.delivery_mode,
            "message_id": self.message_id,
        }
        return {
            "routing_key": self.routing_key,
            "properties": properties,
            "headers": dict(self.headers),
            "body": self.body,
        }


def octets_of(body: Body) -> bytes:
    """The octets that a body in the files stands for."""
    if isinstance(body, str):
        return body.encode()
    if "base64" in body:
        return base64.b64decode(body["base64"])
    return str(body["repeat"] * body["times"]).encode()


def message(name: str, kind: str, payload: str, at: datetime, **about: Any) -> Message:
    """The message that the source sends for an event.

    Parameters:
        name: unique in all files.
        kind: the event's type.
        payload: its data.
        at: when it happened.
        about: ``user_id`` and ``version`` if it is about a user.
    """
    event = StoredEvent(
        event_id=id_of(f"event {name}"), type=kind, occurred_at=at, payload=payload, **about
    )
    sent = encode_stored(event, source=SOURCE)
    return Message(kind, dict(sent.headers), sent.body.decode(), str(event.event_id))


def of_state(name: str, state: State, kind: str = "user.updated") -> Message:
    """The message that carries a state; a tombstone's is a ``user.deleted``."""
    is_deleted = isinstance(state, UserTombstone)
    return message(
        name,
        "user.deleted" if is_deleted else kind,
        state.model_dump_json(),
        state.deleted_at if isinstance(state, UserTombstone) else state.updated_at,
        user_id=state.id,
        version=state.version,
    )


def a_state(user: str, version: int, **changes: Any) -> UserState:
    """A state of the user of this name."""
    values: dict[str, Any] = {
        "email": f"{id_of(user).hex[:12]}@example.org",
        "email_verified": False,
        "roles": (),
        "status": "active",
        "tokens_valid_after": None,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return UserState(id=id_of(user), version=version, **(values | changes))


def a_tombstone(user: str, version: int) -> UserTombstone:
    """A tombstone of the user of this name; its time tells it from others."""
    return UserTombstone(
        id=id_of(user), version=version, deleted_at=NOON.replace(microsecond=version)
    )


def row_of(state: State) -> dict[str, Any]:
    """The row of a replica with all fields, in which a state ends."""
    is_deleted = isinstance(state, UserTombstone)
    row = {
        name: None if is_deleted else getattr(state, name)
        for name in UserState.model_fields
        if name not in ("id", "version")
    }
    row = {"id": state.id, "version": state.version} | row
    row["deleted_at"] = state.deleted_at if isinstance(state, UserTombstone) else None
    return {name: _as_json(value) for name, value in row.items()}


def _as_json(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return rfc3339(value)
        case tuple():
            return list(value)
        case _:
            return value
