"""Delete events past their retention from the log, which would grow without limit otherwise.

Retention: it runs after the last step of an event's journey.

Guarantees: unpublished events stay, however old. So do events that an unfinished replay of the log
still has to send. A replay that starts meanwhile cannot miss the deletion: it locks the row of
``source`` that each batch updates first. Pruning waits for no locked row, so it cannot deadlock:
rows that a deletion of a user or another session has locked are left to the next run. Each batch is
one transaction, so an interruption leaves nothing half done.

Not here: erasing a user's events (``record``).
"""

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
from service_kit.database.engines import pooled
from service_kit.database.locks import advisory_lock
from service_kit.database.rounds import repeat
from service_kit.process.errors import OperatorError

log = structlog.get_logger()

BATCH_EVENTS: Final = 2_000
"""Events that one transaction reads, in some hundredths of a second. A heartbeat may wait for it,
because it updates the row of ``source`` too."""

EVERY_SECONDS: Final = 3_600.0
"""How often the relay prunes. Retention is in days; one hour's events are deleted within seconds,
in batches that vacuum can follow."""

LOCK_KEY: Final = 0x7573707275_6E6521
"""The advisory lock of pruning, so that one session prunes at a time: "usprune!" in ASCII."""

# First in each transaction: starting a replay locks this row FOR SHARE.
_LOCK = text("SELECT pruned_position FROM source FOR NO KEY UPDATE")

# Times rise with positions, or nearly. So batches go up from the oldest position, by the primary
# key, until a batch holds nothing old. A few events are older than their neighbours, for example
# those of a long transaction; they are deleted with the batch that they are in.
_READ = text(
    """
    WITH events_read AS MATERIALIZED (
        SELECT position, published_at IS NOT NULL AS is_published
             , occurred_at < :before AS is_old
        FROM outbox_events WHERE position > :after ORDER BY position LIMIT :limit
    ), held AS (
        SELECT min(done_position) AS after
        FROM replays WHERE of = 'log' AND state IN ('running', 'paused')
    ), judged AS (
        SELECT position, is_old, is_published
             , position <= coalesce(held.after, position) AS is_free
        FROM events_read CROSS JOIN held
    )
    SELECT count(*) AS events_read,
           max(position) AS last,
           count(*) FILTER (WHERE is_old) AS old,
           count(*) FILTER (WHERE is_old AND NOT is_published) AS unpublished,
           count(*) FILTER (WHERE is_old AND is_published AND NOT is_free) AS held,
           count(*) FILTER (WHERE is_old AND is_published AND is_free) AS deletable,
           max(position) FILTER (WHERE is_old AND is_published AND is_free) AS up_to
    FROM judged
    """
)

_MOVE = text("UPDATE source SET pruned_position = greatest(pruned_position, :up_to)")

# An array makes the planner find the rows by the primary key.
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
    """Another session is pruning."""

    def __init__(self) -> None:
        super().__init__(
            "another command or a relay is pruning the log; try again when it has ended"
        )


@dataclass(slots=True, kw_only=True)
class Pruned:
    """The result of pruning: counts of events older than ``before``.

    A dry run counts in ``deleted`` what would be deleted. ``kept_unpublished`` are not published
    yet. ``kept_for_replays`` are needed by an unfinished replay, or follow such events.
    ``kept_in_use`` were locked by another session and are deleted next time. Events up to
    ``pruned_position`` may be gone from the log.
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
    """Delete events that were recorded longer ago than ``older_than``, oldest first.

    Parameters:
        engine: the auth database.
        older_than: the retention, by PostgreSQL's clock.
        actor: the operator, for the audit log; None for the relay, which logs it.
        is_dry: only count.
        advance: called with the number of events that each batch has read.

    Raises:
        AlreadyPruning: another session is pruning.
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
                batch = await _prune_batch(connection, pruned, after, actor, is_dry=is_dry)
            advance(batch.events_read)
            after = batch.last if batch.old else None
        async with connection.begin():
            oldest = (await connection.execute(_OLDEST)).one()
        pruned.oldest_position, pruned.oldest_at = oldest.position, oldest.occurred_at
        pruned.pruned_position = oldest.pruned_position
    return pruned


async def _prune_batch(
    connection: AsyncConnection, pruned: Pruned, after: int, actor: str | None, *, is_dry: bool
) -> Row[Any]:
    """Read the next events and delete those that may be deleted; return what was read."""
    if not is_dry:
        await connection.execute(_LOCK)
    values = {"before": pruned.before, "after": after, "limit": BATCH_EVENTS}
    batch = (await connection.execute(_READ, values)).one()
    pruned.kept_unpublished += batch.unpublished
    pruned.kept_for_replays += batch.held
    if is_dry:
        pruned.deleted += batch.deletable
    elif batch.deletable:
        deleted = await _delete(connection, pruned, after, batch)
        if actor is not None and deleted and not pruned.deleted:
            before = pruned.before.isoformat()
            await audit(connection, Action.LOG_PRUNED, actor=actor, before=before)
        pruned.deleted += deleted
        pruned.kept_in_use += batch.deletable - deleted
    return batch


async def _delete(connection: AsyncConnection, pruned: Pruned, after: int, batch: Row[Any]) -> int:
    await connection.execute(_MOVE, {"up_to": batch.up_to})
    values = {"after": after, "up_to": batch.up_to, "before": pruned.before}
    return (await connection.execute(_DELETE, values)).rowcount


async def prune_hourly(settings: RelaySettings) -> None:
    """Prune once an hour until cancelled, if the settings limit the retention.

    Any number of relays may run this: one prunes at a time, and the next finds nothing old. Each
    round opens a connection of its own and closes it.
    """
    if settings.outbox_keep_days is None:
        return
    older_than = timedelta(days=settings.outbox_keep_days)

    async def one_round() -> None:
        engine = pooled(settings)
        try:
            pruned = await prune(engine, older_than)
        except AlreadyPruning:
            return
        finally:
            await engine.dispose()
        if pruned.deleted or pruned.kept_for_replays:
            log.info(
                "log.pruned",
                deleted=pruned.deleted,
                kept_unpublished=pruned.kept_unpublished,
                kept_for_replays=pruned.kept_for_replays,
                pruned_position=pruned.pruned_position,
            )

    await repeat("pruning", one_round, every_seconds=EVERY_SECONDS)
