"""Discard a parked message: remove it, and note who did and why, without what was in it.

Guarantees: a message is gone and noted, or neither. The only code that writes the notes.
"""

from typing import Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.inbox.parking import claim, unpark
from replica.inbox.table import discarded_messages
from replica.parked.model import NoSuchMessage

BECAUSE_LENGTH_MAX: Final = 500
"""A sentence or two; the notes are kept for ever."""


async def discard(engine: AsyncEngine, parked_id: int, *, because: str, actor: str) -> None:
    """Remove a message for good; its user is mended by the next one, or by reconcile.

    Parameters:
        engine: of the replica's database.
        parked_id: which message.
        because: the operator's words; nothing personal.
        actor: who they are (``service_kit.process.actors``).

    Raises:
        NoSuchMessage: it is not parked, or not any more.
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
