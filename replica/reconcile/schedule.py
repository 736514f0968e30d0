"""Whether a comparison is due, and why.

Asked by the watch, which makes it, and by all who tell operators and probes about it.

Not here: making it (``watch``).
"""

from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.inbox.heartbeats import suspicion
from replica.inbox.waiting import MESSAGES_WAIT, summary
from replica.reconcile import runs
from replica.reconcile.model import Reason, reason_to_run
from replica.table import Replica

NEVER: Final = 0.0
"""As a schedule: only what has happened makes a comparison due, and not the time."""

_IS_EMPTY: Final = "SELECT NOT EXISTS (SELECT FROM {users} WHERE version > 0)"
_NOW = select(func.clock_timestamp())


async def reason_due(
    replica: Replica, connection: AsyncConnection, every_seconds: float
) -> Reason | None:
    """Why the replica should be compared now; None when nothing speaks for it."""
    last = await runs.last_answer(connection)
    suspected = await suspicion(connection)
    now = (await connection.execute(_NOW)).scalar_one()
    ended = None if last is None else last.finished_at
    return reason_to_run(
        is_empty=bool(await connection.scalar(text(_IS_EMPTY.format(users=replica.name)))),
        suspicion=None if suspected is None else suspected.kind,
        compared_last=None if last is None else last.compared,
        seconds_since=None if ended is None else (now - ended).total_seconds(),
        every_seconds=every_seconds,
    )


async def why_degraded(replica: Replica, connection: AsyncConnection) -> str | None:
    """Why the replica may be incomplete; None when nothing says so.

    It was never compared with its source, heartbeats tell that messages were lost, or messages wait
    by themselves.
    """
    found = await reason_due(replica, connection, NEVER)
    if found is not None:
        return found.value
    return MESSAGES_WAIT if (await summary(connection)).messages else None
