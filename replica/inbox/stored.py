"""Apply a stored message through the same code as a new one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import UserDeleted
from contracts.events.envelope import Undecodable, decode, too_large
from contracts.sync.merge import Outcome
from replica.inbox.amqp_as_json import from_json
from replica.inbox.apply import apply
from replica.table import Replica


@dataclass(frozen=True, slots=True)
class Carrier:
    """A stored message in the form that ``contracts.events.envelope`` reads."""

    headers: Mapping[str, Any]
    body: bytes

    @classmethod
    def of(cls, properties: Mapping[str, Any], body: bytes | None) -> Self:
        """Build the message from stored properties; an erased body becomes empty."""
        headers = from_json(properties.get("headers"))
        return cls(headers if isinstance(headers, dict) else {}, body or b"")


def deleted_user(properties: Mapping[str, Any]) -> UUID | None:
    """Return the user that the message deletes, by its headers alone; None if it deletes none."""
    try:
        event = decode(Carrier.of(properties, None))
    except Undecodable:
        return None
    return event.data.id if isinstance(event, UserDeleted) else None


async def apply_stored(replica: Replica, connection: AsyncConnection, row: Row[Any]) -> Outcome:
    """Apply the message in ``row``; the caller owns the transaction.

    Raises:
        Undecodable: the message cannot be read, and its user is not deleted.
    """
    try:
        event = decode(Carrier.of(row.properties, row.body))
    except Undecodable:
        # An erased message is not needed: its user's tombstone wins over any content.
        if row.body is None and row.user_id and await replica.is_deleted(connection, row.user_id):
            return Outcome.TOMBSTONED
        if getattr(row, "dropped_bytes", None):
            raise too_large() from None
        raise
    [outcome] = await apply(replica, connection, [event])
    return outcome
