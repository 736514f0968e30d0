"""Discard a parked message: delete it, and record who did it and why, without its content.

Guarantees: a message is deleted and recorded, or neither. Only this code writes the records.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events.envelope import legible_ids
from replica.inbox.parking import claim, unpark
from replica.inbox.stored import Carrier
from replica.inbox.table import discarded_messages
from replica.parked.model import NoSuchMessage

BECAUSE_LENGTH_MAX: Final = 500
"""One or two sentences, which are stored permanently."""


async def discard(
    engine: AsyncEngine, parked_id: int, *, because: str, actor: str
) -> Mapping[str, str]:
    """Delete a message permanently; its user is repaired by their next event, or by reconcile.

    Returns the ids of its event, for a log line.

    Parameters:
        engine: the replica's database.
        parked_id: the message.
        because: the operator's reason, without personal data.
        actor: the operator (``service_kit.process.actors``).

    Raises:
        NoSuchMessage: no message with this id is parked.
    """
    async with engine.begin() as connection:
        row = await claim(connection, parked_id, waits=True)
        if row is None:
            raise NoSuchMessage(parked_id)
        await connection.execute(
            insert(discarded_messages).values(
                id=row.id,
                message_hash=row.message_hash,
                user_id=row.user_id,
                parked_for=row.reason,
                because=because,
                discarded_by=actor,
            )
        )
        await unpark(connection, parked_id)
        return legible_ids(Carrier.of(row.properties, row.body))
