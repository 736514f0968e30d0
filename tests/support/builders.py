"""Build states and events with defaults, so that a test names only the values it is about."""

import itertools
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from contracts import events

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SOURCE = "https://auth.example"
_positions = itertools.count(1)


def a_state(user_id: UUID | None = None, version: int = 1, **changes: Any) -> events.UserState:
    user_id = user_id or uuid4()
    values: dict[str, Any] = {
        "email": f"{user_id.hex[:12]}@example.org",
        "email_verified": False,
        "roles": (),
        "status": "active",
        "tokens_valid_after": None,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return events.UserState(id=user_id, version=version, **(values | changes))


def a_tombstone(user_id: UUID | None = None, version: int = 2) -> events.UserTombstone:
    return events.UserTombstone(id=user_id or uuid4(), version=version, deleted_at=NOON)


def an_event(data: events.Data, *, created: bool = False) -> events.Event:
    """Return the event for ``data``; a user's state is an update unless ``created``."""
    common: dict[str, Any] = {
        "id": uuid4(),
        "source": SOURCE,
        "time": NOON,
        "sequence": next(_positions),
    }
    if isinstance(data, events.Beat):
        return events.Heartbeat(**common, data=data)
    if isinstance(data, events.RevokedKey):
        return events.KeyRevoked(**common, data=data)
    if isinstance(data, events.ServiceState):
        return events.ServiceChanged(**common, data=data)
    if isinstance(data, events.UserTombstone):
        return events.UserDeleted(**common, data=data)
    kind = events.UserCreated if created else events.UserUpdated
    return kind(**common, data=data)
