"""Follow the source's heartbeats, and notice by their numbers that messages were lost.

A source numbers its heartbeats one by one, and they go the way of all events, in order. So the
last one that was applied tells what the next one has to be. ``N`` and ``T`` are its number and the
source's clock when it was recorded:

=============================  ==========================================  =============
the next one                   it means                                    suspicion
=============================  ==========================================  =============
``N + 1``                      all that went before it has arrived         none new
above ``N + 1``                what went between is lost: a queue purged,  ``gap``
                               a broker's disk lost, this replica restored
``N`` or below, later ``T``    the source was restored from a backup       ``backwards``
``N`` or below, no later       it came before, or was overtaken            none new
=============================  ==========================================  =============

The first of a source is the beginning, whatever its number. A live queue that had to be made anew
gives rise to ``queue_lost``: what was lost with it may lie between two heartbeats.

Guarantees: a suspicion stays until it is answered (``clear_suspicion``); the last one wins. A false
one is possible, when several consumers overtake each other, and costs a comparison.

Not here: what is done about a suspicion (``reconcile``).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import Heartbeat
from contracts.sync.merge import Outcome

log = structlog.get_logger()


class SuspicionKind(StrEnum):
    """Why messages may have been lost."""

    GAP = "gap"
    BACKWARDS = "backwards"
    QUEUE_LOST = "queue_lost"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Messages may have been lost: why, and since when that is known (this database's clock)."""

    kind: SuspicionKind
    since: datetime


# The time of the statement, not of the transaction, tells which of a batch gave rise to it. When
# the number runs ahead it counts alone: clocks step back.
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
    """Note ``heartbeat`` as the last of its source, unless it is stale, and judge its number.

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
        log.warning("heartbeat.suspicion", kind=followed.noticed, number=heartbeat.data.number)
    return Outcome.APPLIED


async def note_queue_lost(connection: AsyncConnection) -> None:
    """Suspect that messages were lost with the live queue; the caller owns the transaction.

    A replica that has never seen a heartbeat has lost nothing: it is new.
    """
    if (await connection.execute(_LOST)).rowcount:
        log.warning("heartbeat.suspicion", kind=SuspicionKind.QUEUE_LOST)


async def suspicion(connection: AsyncConnection) -> Suspicion | None:
    """The last suspicion that no comparison has answered yet; None when there is none."""
    row = (await connection.execute(_SUSPICION)).one_or_none()
    return None if row is None else Suspicion(SuspicionKind(row.suspicion), row.suspected_at)


async def clear_suspicion(connection: AsyncConnection, *, before: datetime) -> None:
    """Forget what was suspected before ``before``, when a comparison began (our clock).

    What was lost by then has been compared: it was recorded before it gave rise to a suspicion.
    """
    await connection.execute(_CLEAR, {"before": before})


async def has_applied(
    connection: AsyncConnection, *, issuer: str, number: int, recorded_at: datetime
) -> bool:
    """Whether this heartbeat of ``issuer``, or one after it, was applied.

    Parameters:
        issuer: the source, as its events name it.
        number: the heartbeat's.
        recorded_at: when it was recorded, by the source's clock. After the source was restored, a
            higher number alone would be one of the time that is gone.
    """
    values = {"source": issuer, "number": number, "recorded_at": recorded_at}
    return bool(await connection.scalar(_HAS_APPLIED, values))
