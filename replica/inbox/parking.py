"""Park a message: store it as received, with the reason, for operators to inspect and redrive.

Only this code writes the table; operators' actions (``parked``) use it too.

Guarantees: a message has one row, however often it is parked. Of a deleted user only headers are
stored; parking a message and applying its user's tombstone exclude each other, so neither misses
the other. A message without an identifiable user expires, because it cannot be erased with its
user.
"""

import hashlib
import json
from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    Row,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    delete,
    func,
    literal,
    null,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events.envelope import legible_user
from replica.inbox.amqp_as_json import to_json
from replica.inbox.faults import Verdict
from replica.inbox.table import parked_messages, waiting_messages
from replica.locks import lock
from replica.table import Replica
from service_kit.broker.delivery import Delivery

ILLEGIBLE_DAYS_MAX: Final = 30
"""The retention of messages without an identifiable user, which may still contain personal data."""


async def park(
    replica: Replica, connection: AsyncConnection, delivery: Delivery, reason: str, error: str
) -> None:
    """Store ``delivery`` as parked. The caller owns the transaction."""
    await upsert(
        replica,
        connection,
        message_hash=message_hash(delivery),
        user_id=legible_user(delivery),
        reason=reason,
        error=error,
        exchange=storable(delivery.exchange),
        routing_key=storable(delivery.routing_key),
        properties=as_json(delivery),
        body=None if delivery.dropped_bytes else delivery.body,
        dropped_bytes=delivery.dropped_bytes or None,
    )


async def upsert(
    replica: Replica,
    connection: AsyncConnection,
    *,
    user_id: UUID | None,
    properties: str,
    body: bytes | None,
    **values: Any,
) -> None:
    """Insert or update the row of a parked message; without the body if the user is deleted."""
    erased = False
    if user_id is not None:
        await lock(connection, [user_id])
        erased = await replica.is_deleted(connection, user_id)
    row = insert(parked_messages).values(
        user_id=user_id,
        properties=cast(literal(properties, Text), JSON),
        body=None if erased else body,
        **values,
    )
    await connection.execute(
        row.on_conflict_do_update(
            index_elements=[parked_messages.c.message_hash],
            set_={
                "attempts": parked_messages.c.attempts + 1,
                "reason": row.excluded.reason,
                "error": row.excluded.error,
                "last_failed_at": func.now(),
            },
        )
    )


async def expire(connection: AsyncConnection) -> None:
    """Delete messages without an identifiable user that were parked before the retention.

    Rows that an operator's action has locked are skipped until the next call.
    """
    expired = (
        select(parked_messages.c.id)
        .where(
            parked_messages.c.user_id.is_(None),
            parked_messages.c.first_failed_at
            < func.now() - text(f"interval '{ILLEGIBLE_DAYS_MAX} days'"),
        )
        .with_for_update(skip_locked=True)
    )
    await connection.execute(delete(parked_messages).where(parked_messages.c.id.in_(expired)))


async def erase(connection: AsyncConnection, user_ids: Collection[UUID]) -> None:
    """Erase the bodies of these users' parked and waiting messages; the caller locks the users."""
    # One array: a list of parameters would be another statement for each number of users.
    ids = any_(bindparam("ids", list(user_ids), ARRAY(Uuid)))
    for table in (parked_messages, waiting_messages):
        await connection.execute(
            update(table)
            .where(table.c.user_id == ids, table.c.body.is_not(None))
            .values(body=null())
        )


async def claim(connection: AsyncConnection, parked_id: int, *, waits: bool) -> Row[Any] | None:
    """Lock a parked message against other redrives and discards until the transaction ends.

    Returns None if it is gone or, without ``waits``, if another session has locked it.
    """
    row = select(parked_messages).where(parked_messages.c.id == parked_id)
    return (await connection.execute(row.with_for_update(skip_locked=not waits))).one_or_none()


async def park_again(connection: AsyncConnection, parked_id: int, found: Verdict) -> None:
    """Record another failure of a message that the caller has claimed."""
    await connection.execute(
        update(parked_messages)
        .where(parked_messages.c.id == parked_id)
        .values(
            attempts=parked_messages.c.attempts + 1,
            reason=found.reason,
            error=found.error,
            last_failed_at=func.now(),
        )
    )


async def unpark(connection: AsyncConnection, parked_id: int) -> None:
    """Remove a message that the caller has claimed."""
    await connection.execute(delete(parked_messages).where(parked_messages.c.id == parked_id))


def message_hash(delivery: Delivery) -> bytes:
    """Return a hash that identifies a message in every delivery, without the broker's headers."""
    parts = (delivery.routing_key.encode(), as_json(delivery, by_broker=False).encode())
    body = b"%d bytes" % delivery.dropped_bytes if delivery.dropped_bytes else delivery.body
    return hashlib.sha256(b"\0".join((*parts, body))).digest()


def as_json(delivery: Delivery, *, by_broker: bool = True) -> str:
    """Return the AMQP properties as JSON text."""
    properties = {
        name: value
        for name, value in dict(delivery.properties).items()
        if value is not None and name != "headers"
    }
    headers = delivery.headers or {}
    properties["headers"] = {
        name: value for name, value in headers.items() if by_broker or not name.startswith("x-")
    }
    return json.dumps(to_json(properties), sort_keys=True)


def storable(name: str) -> str:
    """Replace NUL, which AMQP names may contain and PostgreSQL's text may not."""
    return name.replace("\0", "\N{SYMBOL FOR NULL}")
