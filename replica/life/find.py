"""Find users of the replica by the beginning of their id.

Not here: finding them by address. The source does that, and audits it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.table import Replica
from service_kit.process.id_prefixes import FOUND_MAX, ids_between


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row of the replica: whose, which version, and when the user was deleted if they were."""

    id: UUID
    version: int
    deleted_at: datetime | None


async def find(replica: Replica, connection: AsyncConnection, prefix: str) -> Sequence[Found]:
    """The first ``FOUND_MAX`` users, also deleted ones, whose id begins with ``prefix``."""
    between = ids_between(prefix)
    if between is None:
        return []
    users = replica.table.c
    query = (
        select(users.id, users.version, users.deleted_at)
        .where(users.id.between(*between))
        .order_by(users.id)
        .limit(FOUND_MAX)
    )
    return [Found(**row) for row in (await connection.execute(query)).mappings()]
