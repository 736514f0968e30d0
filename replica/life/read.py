"""Read the life of a user: this side, the source, and this side again.

Guarantees: no connection to the database is held while the source is asked. The replica is read
before the source, and again after it, so that an event on its way is not taken for a difference.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from replica.columns import APPLIED_AT
from replica.inbox.table import waiting_messages
from replica.life.at_source import at_source
from replica.life.model import AtSource, Here, Life, life_of
from replica.parked.read import parked_list
from replica.reconcile import runs
from replica.reconcile.model import CouldNotCompare
from replica.settings import SourceSettings
from replica.source_client import Account
from replica.table import Replica

PARKED_SHOWN_MAX: Final = 20
"""Newest parked messages of the user; ``parked list`` has all."""


async def life(
    replica: Replica,
    settings: SourceSettings,
    account: Account | None,
    engine: AsyncEngine,
    user_id: UUID,
) -> Life:
    """The life of a user; a source that is away leaves out its side, and says why.

    Parameters:
        account: at the source; None if the settings name none.
    """
    async with engine.connect() as connection:
        before = await _row(replica, connection, user_id)
        follows = await runs.source_followed(connection)
    source: AtSource | str
    try:
        source = await at_source(replica, settings, account, user_id, follows=follows)
    except CouldNotCompare as error:
        source = str(error)
    async with engine.connect() as connection:
        here = await _here(replica, connection, user_id)
    return life_of(replica.columns, before, source, here, now=datetime.now(UTC))


async def _here(replica: Replica, connection: AsyncConnection, user_id: UUID) -> Here:
    row = await _row(replica, connection, user_id)
    waiting = select(func.count()).where(waiting_messages.c.user_id == user_id)
    return Here(
        row=row,
        applied_at=None if row is None else row.get(APPLIED_AT),
        parked=await parked_list(connection, limit=PARKED_SHOWN_MAX, user_id=user_id),
        waiting=await connection.scalar(waiting) or 0,
    )


async def _row(
    replica: Replica, connection: AsyncConnection, user_id: UUID
) -> Mapping[str, Any] | None:
    query = select(replica.table).where(replica.table.c.id == user_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else dict(row)
