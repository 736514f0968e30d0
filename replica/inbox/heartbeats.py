"""Follow the source's heartbeats, and detect lost messages by their numbers.

A source numbers its heartbeats consecutively and sends them in order with all other events. So the
number of the last applied one determines the next. ``N`` and ``T`` are the last one's number and
its time by the source's clock:

=============================  ==========================================  =============
next heartbeat                 meaning                                     suspicion
=============================  ==========================================  =============
``N + 1``                      everything sent before it has arrived       none new
above ``N + 1``                messages in between are lost: queue purged, ``gap``
                               broker's disk lost, replica restored
``N`` or below, later ``T``    the source was restored from a backup       ``backwards``
``N`` or below, no later       a duplicate, or overtaken                   none new
=============================  ==========================================  =============

The first heartbeat of a source may have any number. A live queue that had to be declared again
raises ``queue_lost``, because messages between two heartbeats may have been lost with it.

Guarantees: a suspicion stays until a comparison clears it (``clear_suspicion``); the latest one
wins. Consumers that overtake each other may raise a false one, which costs one comparison.

Not here: the reaction to a suspicion (``reconcile``), and this table as code
(``heartbeat_numbers``).
"""

from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import Heartbeat
from contracts.sync.merge import Outcome
from replica.inbox.heartbeat_numbers import SuspicionKind

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Messages may have been lost: why, and when that was detected (this database's clock)."""

    kind: SuspicionKind
    since: datetime


# The statement's time, not the transaction's, identifies the heartbeat of a batch that raised the
# suspicion. If the number is higher, only the number counts, because clocks may step back.
_FOLLOW = text(
    f"""
    INSERT INTO heartbeats AS last (source, number, recorded_at)
    VALUES (:source, :number, :recorded_at)
    ON CONFLICT (source) DO UPDATE SET
        number = excluded.number,
        recorded_at = excluded.recorded_at,
        applied_at = now(),
        suspicion = CASE
            WHEN excluded.number = last.number + 1 THEN last.suspicion
            WHEN excluded.number > last.number THEN '{SuspicionKind.GAP}'
            ELSE '{SuspicionKind.BACKWARDS}'
        END,
        suspected_at = CASE
            WHEN excluded.number = last.number + 1 THEN last.suspected_at
            ELSE statement_timestamp()
        END
    WHERE excluded.number > last.number OR excluded.recorded_at > last.recorded_at
    RETURNING CASE WHEN suspected_at = statement_timestamp() THEN suspicion END AS noticed
    """  # noqa: S608 - made of constants
)

_LOST = text(
    f"UPDATE heartbeats SET suspicion = '{SuspicionKind.QUEUE_LOST}',"  # noqa: S608 - a constant
    " suspected_at = statement_timestamp()"
)

_SUSPICION = text(
    "SELECT suspicion, suspected_at FROM heartbeats WHERE suspicion IS NOT NULL"
    " ORDER BY suspected_at DESC LIMIT 1"
)

_CLEAR = text(
    "UPDATE heartbeats SET suspicion = NULL, suspected_at = NULL WHERE suspected_at < :before"
)

_HAS_APPLIED = text(
    "SELECT EXISTS (SELECT FROM heartbeats WHERE source = :source AND number >= :number"
    " AND recorded_at >= :recorded_at)"
)


async def follow(connection: AsyncConnection, heartbeat: Heartbeat) -> Outcome:
    """Record ``heartbeat`` as the last of its source unless it is stale, and check its number.

    The caller owns the transaction.
    """
    values = {
        "source": heartbeat.source,
        "number": heartbeat.data.number,
        "recorded_at": heartbeat.time,
    }
    followed = (await connection.execute(_FOLLOW, values)).one_or_none()
    if followed is None:
        return Outcome.STALE
    if followed.noticed:
        log.warning(
            "heartbeat.suspicion",
            kind=followed.noticed,
            number=heartbeat.data.number,
            event_id=str(heartbeat.id),
        )
    return Outcome.APPLIED


async def note_queue_lost(connection: AsyncConnection) -> None:
    """Record that messages may have been lost with the live queue; the caller owns the transaction.

    A replica without any heartbeat is new and has lost nothing.
    """
    if (await connection.execute(_LOST)).rowcount:
        log.warning("heartbeat.suspicion", kind=SuspicionKind.QUEUE_LOST)


async def suspicion(connection: AsyncConnection) -> Suspicion | None:
    """Return the latest suspicion that no comparison has cleared yet, or None."""
    row = (await connection.execute(_SUSPICION)).one_or_none()
    return None if row is None else Suspicion(SuspicionKind(row.suspicion), row.suspected_at)


async def clear_suspicion(connection: AsyncConnection, *, before: datetime) -> None:
    """Clear suspicions older than ``before``, the start of a comparison (this database's clock).

    The comparison covers what was lost by then, because it was recorded before the suspicion.
    """
    await connection.execute(_CLEAR, {"before": before})


async def has_applied(
    connection: AsyncConnection, *, issuer: str, number: int, recorded_at: datetime
) -> bool:
    """Tell whether this heartbeat of ``issuer``, or a later one, was applied.

    Parameters:
        issuer: the source, as in its events.
        number: the heartbeat's number.
        recorded_at: its time by the source's clock. After a restore of the source, a higher number
            alone could be from before the restore.
    """
    values = {"source": issuer, "number": number, "recorded_at": recorded_at}
    return bool(await connection.scalar(_HAS_APPLIED, values))
