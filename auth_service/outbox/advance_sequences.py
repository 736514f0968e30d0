"""Move the log's positions and heartbeat numbers past every number ever issued.

A database restored from a backup would issue the numbers of the lost time again, for other events.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import source

ADVANCE_BY: Final = 1_000_000_000
"""More events than any source records between two backups: 1,000 a second for eleven days. Nine
million such steps fit below 2^53, the limit to which every JSON reader keeps integers exact."""

_MOVE_POSITION = text(
    "SELECT setval(counter, :by + greatest(nextval(counter),"
    " (SELECT max(position) FROM outbox_events)))"
    " FROM CAST(pg_get_serial_sequence('outbox_events', 'position') AS regclass) AS counter"
)

_MOVE_HEARTBEAT = (
    update(source)
    .values(heartbeat=source.c.heartbeat + ADVANCE_BY)
    .returning(source.c.identity, source.c.heartbeat)
)


@dataclass(frozen=True, slots=True)
class Advanced:
    """The numbers after the move: every later position and heartbeat is above these."""

    source: UUID
    position: int
    heartbeat: int


async def advance_sequences(connection: AsyncConnection) -> Advanced:
    """Advance both numbers; the caller commits.

    A rollback does not take the positions back, because PostgreSQL's sequences ignore it. The
    result is only a gap.
    """
    position = await connection.scalar(_MOVE_POSITION, {"by": ADVANCE_BY})
    moved = (await connection.execute(_MOVE_HEARTBEAT)).one()
    return Advanced(moved.identity, int(position or 0), moved.heartbeat)
