"""Delete old events from the log, which would otherwise grow for ever.

Retention: not a step of an event's journey, but the end of its record.

Guarantees: what is not published stays, however old; so does what an unfinished replay of the log
has still to send, and a replay that is being asked for cannot miss that the rows went, for it holds
the row of ``source`` that each batch changes first. No row is waited for: one that an erasing
deletion or another session holds is left to the next time, so that nothing can deadlock. Each batch
is one transaction, so an interruption leaves nothing half done.

Not here: erasing a user's events (``record``), which needs no row to exist.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.settings import RelaySettings
from service_kit.database.away import DATABASE_AWAY
from service_kit.database.engines import pooled
from service_kit.database.locks import advisory_lock
from service_kit.process.errors import OperatorError

log = structlog.get_logger()

BATCH_EVENTS: Final = 2_000
"""Looked at in a transaction: some hundredths of a second, for which a heartbeat may have to wait,
since it changes the row of ``source`` too."""

EVERY_SECONDS: Final = 3_600.0
"""How often the relay prunes. What is kept is counted in days; an hour's events are deleted in
seconds, and in pieces that vacuum can follow."""

LOCK_KEY: Final = 0x7573707275_6E6521
""""uspru" and "ne!" in ASCII: which advisory lock is the pruner's, so that one prunes at a time."""

# The first thing in each transaction: whoever asks for a replay locks this row FOR SHARE.
_LOCK = text("SELECT pruned_position FROM source FOR NO KEY UPDATE")

# Times rise with positions, or nearly. So batches go up from the oldest position, each found by the
# primary key, until one holds nothing old; the few that are older than their neighbours, such as
# those of a transaction that took long, go with the batch that they are in.
_LOOK = text(
    """
    WITH looked AS MATERIALIZED (
        SELECT position, published_at IS NOT NULL AS is_published
             , occurred_at < :before AS is_old
        FROM outbox_events WHERE position > :after ORDER BY position LIMIT :limit
    ), held AS (
        SELECT min(done_position) AS after
        FROM replays WHERE of = 'log' AND state IN ('running', 'paused')
    ), judged AS (
        SELECT position, is_old, is_published
             , position <= coalesce(held.after, position) AS is_free
        FROM looked CROSS JOIN held
    )
    SELECT count(*) AS looked,
           max(position) AS last,
           count(*) FILTER (WHERE is_old) AS old,
           count(*) FILTER (WHERE is_old AND NOT is_published) AS unpublished,
           count(*) FILTER (WHERE is_old AND is_published AND NOT is_free) AS held,
           count(*) FILTER (WHERE is_old AND is_published AND is_free) AS doomed,
           max(position) FILTER (WHERE is_old AND is_published AND is_free) AS up_to
    FROM judged
    """
)

_MOVE = text("UPDATE source SET pruned_position = greatest(pruned_position, :up_to)")

# An array, so that the rows are found by the primary key whatever the planner makes of the rest.
_DELETE = text(
    """
    DELETE FROM outbox_events WHERE position = ANY (ARRAY(
        SELECT position FROM outbox_events
        WHERE position > :after AND position <= :up_to
          AND published_at IS NOT NULL AND occurred_at < :before
        ORDER BY position FOR UPDATE SKIP LOCKED
    ))
    """
)

_OLDEST = text(
    "SELECT (SELECT pruned_position FROM source) AS pruned_position, position, occurred_at"
    " FROM (SELECT) AS one LEFT JOIN"
    " (SELECT position, occurred_at FROM outbox_events ORDER BY position LIMIT 1) AS oldest ON true"
)


class AlreadyPruning(OperatorError):
    """Another session is at it."""

    def __init__(self) -> None:
        super().__init__(
            "the log is being pruned by another command or by a relay; try again when it has ended"
        )


@dataclass(slots=True, kw_only=True)
class Pruned:
    """What was done to the events older than ``before``; counts of events.

    ``deleted`` is what would be deleted, if nothing was to be. ``kept_unpublished`` still has to go
    out; ``kept_for_replays`` is what an unfinished replay needs, and what comes after that;
    ``kept_in_use`` was locked by somebody, and goes the next time. Events up to ``pruned_position``
    may be gone.
    """

    before: datetime
    deleted: int = 0
    kept_unpublished: int = 0
    kept_for_replays: int = 0
    kept_in_use: int = 0
    oldest_position: int | None = None
    oldest_at: datetime | None = None
    pruned_position: int = 0


async def prune(
    engine: AsyncEngine,
    older_than: timedelta,
    *,
    actor: str | None = None,
    is_dry: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Pruned:
    """Delete what was recorded longer ago than ``older_than``, from the oldest on.

    Parameters:
        engine: to get a connection from.
        older_than: by PostgreSQL's clock.
        actor: who does it, for the audit log; None for the relay, whose log tells.
        is_dry: only count.
        advance: told how many events each batch has looked at.

    Raises:
        AlreadyPruning: another session does.
    """
    async with advisory_lock(engine, LOCK_KEY) as connection:
        if connection is None:
            raise AlreadyPruning
        async with connection.begin():
            query = text("SELECT now() - CAST(:older_than AS interval)")
            pruned = Pruned(before=await connection.scalar(query, {"older_than": older_than}))
        after: int | None = 0
        while after is not None:
            async with connection.begin():
                seen = await _batch(connection, pruned, after, actor, is_dry=is_dry)
            advance(seen.looked)
            after = seen.last if seen.old else None
        async with connection.begin():
            oldest = (await connection.execute(_OLDEST)).one()
        pruned.oldest_position, pruned.oldest_at = oldest.position, oldest.occurred_at
        pruned.pruned_position = oldest.pruned_position
    return pruned


async def _batch(
    connection: AsyncConnection, pruned: Pruned, after: int, actor: str | None, *, is_dry: bool
) -> Row[Any]:
    """Look at the next events and delete what may go; what was seen."""
    if not is_dry:
        await connection.execute(_LOCK)
    values = {"before": pruned.before, "after": after, "limit": BATCH_EVENTS}
    seen = (await connection.execute(_LOOK, values)).one()
    pruned.kept_unpublished += seen.unpublished
    pruned.kept_for_replays += seen.held
    if is_dry:
        pruned.deleted += seen.doomed
    elif seen.doomed:
        deleted = await _delete(connection, pruned, after, seen)
        if actor is not None and deleted and not pruned.deleted:
            before = pruned.before.isoformat()
            await audit(connection, Action.LOG_PRUNED, actor=actor, before=before)
        pruned.deleted += deleted
        pruned.kept_in_use += seen.doomed - deleted
    return seen


async def _delete(connection: AsyncConnection, pruned: Pruned, after: int, seen: Row[Any]) -> int:
    await connection.execute(_MOVE, {"up_to": seen.up_to})
    values = {"after": after, "up_to": seen.up_to, "before": pruned.before}
    return (await connection.execute(_DELETE, values)).rowcount


async def prune_hourly(settings: RelaySettings) -> None:
    """Prune once an hour, for ever, if the settings say what is to be kept.

    Any number of relays may do so: one prunes at a time, and a second time finds nothing old. On a
    connection of its own, which ends with each time.
    """
    if settings.outbox_keep_days is None:
        return
    older_than = timedelta(days=settings.outbox_keep_days)
    while True:
        engine = pooled(settings)
        try:
            pruned = await prune(engine, older_than)
            if pruned.deleted or pruned.kept_for_replays:
                log.info(
                    "log.pruned",
                    deleted=pruned.deleted,
                    kept_unpublished=pruned.kept_unpublished,
                    kept_for_replays=pruned.kept_for_replays,
                    pruned_position=pruned.pruned_position,
                )
        except AlreadyPruning:
            pass
        except DATABASE_AWAY as error:
            log.warning("log.not_pruned", error=type(error).__name__)
        finally:
            await engine.dispose()
        await asyncio.sleep(EVERY_SECONDS)
