"""Keep what the source says of its service accounts. The only code that writes the table.

Guarantees: states of an account merge by (deleted, version), like a user's, so that duplicates and
late ones change nothing and no later state undoes a deletion. The caller owns the transaction.
"""

from collections.abc import Sequence

from sqlalchemy import tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import ServiceState
from replica.services.table import services

_COMING = insert(services)
_KEEP = _COMING.on_conflict_do_update(
    index_elements=[services.c.client_id],
    set_={
        column.name: _COMING.excluded[column.name]
        for column in services.columns
        if not column.primary_key
    },
    where=tuple_(services.c.status == "deleted", services.c.version)
    < tuple_(_COMING.excluded.status == "deleted", _COMING.excluded.version),
)


async def keep(connection: AsyncConnection, states: Sequence[ServiceState]) -> list[bool]:
    """Merge ``states``; whether each of them changed anything, in their order."""
    is_news = [False] * len(states)
    # By id, since two batches that lock the same rows must do so in the same order.
    for place, state in sorted(enumerate(states), key=lambda each: each[1].client_id):
        kept = await connection.execute(_KEEP, state.model_dump())
        is_news[place] = bool(kept.rowcount)
    return is_news
