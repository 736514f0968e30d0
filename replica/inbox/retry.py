"""Retry the messages that were set aside, every few seconds.

Guarantees: a message is applied or parked, and removed, in one transaction. A try is counted before
it is made, so a message that crashes processes is parked eventually, without its neighbours. A lock
held by another session delays the others by a tenth of a second. While the database is away nothing
changes. ``retry_continuously`` runs until it is stopped.

Not here: which messages wait, and in which order (``waiting``).
"""

import asyncio
import contextlib
import json
from typing import Any, Final

import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.events.envelope import legible_ids
from contracts.sync.merge import Outcome
from replica.inbox import metrics, waiting
from replica.inbox.activity import Activity
from replica.inbox.faults import (
    Reason,
    Verdict,
    describe,
    is_lock_timeout,
    is_messages_fault,
    verdict,
)
from replica.inbox.locked_rows import locked_users, require_unlocked_tables, shorten_lock_timeout
from replica.inbox.parking import upsert
from replica.inbox.stored import Carrier, apply_stored, deleted_user
from replica.locks import lock
from replica.settings import ConsumerSettings
from replica.table import Replica
from replica.tail.notes import Notes
from service_kit.database.away import DATABASE_AWAY
from service_kit.process.backoff import backoff_seconds

log = structlog.get_logger()

LOOK_EVERY_SECONDS: Final = 1.0
"""A round without waiting messages is one small statement."""


async def retry_continuously(
    replica: Replica,
    settings: ConsumerSettings,
    engine: AsyncEngine,
    activity: Activity,
    notes: Notes,
    stopping: asyncio.Event,
) -> None:
    """Run rounds until ``stopping`` is set."""
    failures = 0
    while not stopping.is_set():
        try:
            await retry(replica, settings, engine, activity, notes)
            failures = 0
        except DATABASE_AWAY as error:
            if failures == 0 and not is_lock_timeout(error):
                log.warning("waiting.database_away", error=describe(error))
            failures += 1
        # This process also applies live events, which must continue after any error.
        except Exception as error:
            failures += 1
            log.error("waiting.unexpected", exc_info=error)
        longest = max(LOOK_EVERY_SECONDS, settings.retry_seconds_max)
        pause = backoff_seconds(failures, shortest=LOOK_EVERY_SECONDS, longest=longest)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause if failures else LOOK_EVERY_SECONDS):
                await stopping.wait()


async def retry(
    replica: Replica,
    settings: ConsumerSettings,
    engine: AsyncEngine,
    activity: Activity,
    notes: Notes,
) -> None:
    """Try each due message once, and update ``activity.waiting_keys``."""
    async with engine.begin() as connection:
        activity.waiting_keys = await waiting.keys(connection)
    metrics.waiting.set(len(activity.waiting_keys))
    if not activity.waiting_keys:
        return
    async with engine.begin() as connection:
        await shorten_lock_timeout(connection)
        await require_unlocked_tables(replica, connection)
        await waiting.erase_of_deleted(replica, connection)
        if due := await waiting.due_users(connection):
            await waiting.postpone(connection, await locked_users(replica, connection, due))
    while True:
        async with engine.begin() as connection:
            row = await waiting.claim(connection)
        if row is None:
            return
        await _try(replica, settings, engine, activity, notes, row)


async def _try(
    replica: Replica,
    settings: ConsumerSettings,
    engine: AsyncEngine,
    activity: Activity,
    notes: Notes,
    row: Row[Any],
) -> None:
    try:
        async with engine.begin() as connection:
            await shorten_lock_timeout(connection)
            outcome = await _settle(replica, connection, row, attempts_max=settings.attempts_max)
    except DATABASE_AWAY as error:
        # This process has survived, so the try does not count.
        with contextlib.suppress(*DATABASE_AWAY):
            async with engine.begin() as connection:
                await waiting.release(connection, row.id)
        if not is_lock_timeout(error):
            raise
        return
    if outcome is None:
        return
    metrics.messages.labels(outcome=outcome.value).inc()
    notes.settled("waiting", [Carrier.of(row.properties, row.body)], [None], [outcome])
    if outcome is not Outcome.PARKED:
        activity.applied += 1
        log.info("message.retried", key=row.key, outcome=outcome.value, **_ids(row))


async def _settle(
    replica: Replica, connection: AsyncConnection, row: Row[Any], *, attempts_max: int
) -> Outcome | None:
    """Apply or park the message in ``row`` and remove it; return None if it is gone already."""
    # Lock the user before their stored messages, in the consumer's order.
    if (deleted := deleted_user(row.properties)) is not None:
        await lock(connection, [deleted])
    if not await waiting.remove(connection, row.id):
        return None
    if row.attempts > attempts_max:
        found = Verdict(Reason.KILLS_THE_PROCESS, f"{row.attempts - 1} tries ended with a process")
        return await _park(replica, connection, row, found)
    try:
        async with connection.begin_nested():
            return await apply_stored(replica, connection, row)
    except Exception as error:
        if not is_messages_fault(error):
            raise
        return await _park(replica, connection, row, verdict(error))


async def _park(
    replica: Replica, connection: AsyncConnection, row: Row[Any], found: Verdict
) -> Outcome:
    await upsert(
        replica,
        connection,
        message_hash=row.message_hash,
        user_id=row.user_id,
        reason=found.reason,
        error=found.error,
        exchange=row.exchange,
        routing_key=row.routing_key,
        properties=json.dumps(row.properties, sort_keys=True),
        body=row.body,
    )
    log.warning("message.parked", reason=found.reason, error=found.error, **_ids(row))
    return Outcome.PARKED


def _ids(row: Row[Any]) -> dict[str, str]:
    return legible_ids(Carrier.of(row.properties, row.body))
