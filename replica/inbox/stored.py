"""A message that is stored in this service's database, as the code for fresh ones meets it."""

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
        """The message with the properties as they are stored; an erased body is an empty one."""
        headers = from_json(properties.get("headers"))
        return cls(headers if isinstance(headers, dict) else {}, body or b"")


def deleted_user(properties: Mapping[str, Any]) -> UUID | None:
    """The user whom the message deletes, if it is a deletion: its headers alone tell."""
    try:
        event = decode(Carrier.of(properties, None))
    except Undecodable:
        return None
    return event.data.id if isinstance(event, UserDeleted) else None


async def apply_stored(replica: Replica, connection: AsyncConnection, row: Row[Any]) -> Outcome:
    """Apply the message in ``row``; the caller owns the transaction.

    Raises:
        Undecodable: it cannot be read, and its user is not deleted.
    """
    try:
        event = decode(Carrier.of(row.properties, row.body))
    except Undecodable:
        # Nothing of an erased message is missing: its user's tombstone beats whatever it said.
        if row.body is None and row.user_id and await replica.is_deleted(connection, row.user_id):
            return Outcome.TOMBSTONED
        if getattr(row, "dropped_bytes", None):
            raise too_large() from None
        raise
    [outcome] = await apply(replica, connection, [event])
    return outcome
