"""Move the numbers of the log beyond all that they have ever been.

A database restored from a backup would give the positions and the heartbeat numbers of the lost
time a second time, to other events.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import source

ADVANCE_BY: Final = 1_000_000_000
"""Nobody records that many events between two backups: a thousand a second take eleven days. There
is room for nine million such jumps below the highest number that every JSON reader keeps exact."""

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
    """Where the numbers are now: every further position and heartbeat is above these."""

    source: UUID
    position: int
    heartbeat: int


async def advance_sequences(connection: AsyncConnection) -> Advanced:
    """Move both numbers; the caller commits.

    Positions move even if it is rolled back, for sequences do: a gap more does no harm.
    """
    position = await connection.scalar(_MOVE_POSITION, {"by": ADVANCE_BY})
    moved = (await connection.execute(_MOVE_HEARTBEAT)).one()
    return Advanced(moved.identity, int(position or 0), moved.heartbeat)
