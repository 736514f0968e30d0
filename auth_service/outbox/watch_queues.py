"""Look at the queues of consuming services, inside the relay process.

A consumer that is gone can tell nobody how much waits for it; the relay has a broker connection at
hand and can. Which queues, a setting says: this service declares none and knows no consumer.

Guarantees: a look has a connection of its own, so that publishing never waits for it; nothing is
declared, bound or consumed; what is not known, because the broker or the queue is not there, is
written down as that; the loop never ends on its own.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import structlog
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.table import queues
from auth_service.settings import RelaySettings
from service_kit.broker.queue_depths import QueueLook
from service_kit.database.away import DATABASE_AWAY
from service_kit.database.engines import pooled

log = structlog.get_logger()

EVERY_SECONDS: Final = 5.0
"""As often as consumers look themselves."""


async def watch_queues(settings: RelaySettings) -> None:
    """Look at the queues every few seconds until cancelled; at none, do nothing."""
    if not settings.watched_queues:
        await asyncio.Event().wait()
    engine = pooled(settings)
    look = QueueLook(settings.amqp_url, settings.watched_queues, name="auth-service relay: queues")
    try:
        while True:
            began = time.monotonic()
            try:
                await _note(engine, await look.depths())
            except DATABASE_AWAY as error:
                log.warning("queues.database_away", error=type(error).__name__)
            # Publishing goes through this process too: whatever happens here, it continues.
            except Exception as error:
                log.error("queues.unexpected", exc_info=error)
            await asyncio.sleep(max(0.0, EVERY_SECONDS - (time.monotonic() - began)))
    finally:
        await look.close()
        await engine.dispose()


async def _note(engine: AsyncEngine, seen: Mapping[str, int | None]) -> None:
    values: list[dict[str, Any]] = [
        {"name": name, "messages": messages} for name, messages in sorted(seen.items())
    ]
    statement = insert(queues).values(values)
    kept = {"messages": statement.excluded.messages, "seen_at": func.clock_timestamp()}
    async with engine.begin() as connection:
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_=kept)
        )
        # What the setting does not name any more is no longer shown.
        await connection.execute(queues.delete().where(queues.c.name.not_in(list(seen))))
