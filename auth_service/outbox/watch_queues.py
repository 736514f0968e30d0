"""Store how many messages wait in consuming services' queues, inside the relay process.

A consumer that is down cannot report its backlog; the relay can, because it talks to the broker. A
setting names the queues: this service declares none and knows no consumer.

Guarantees: it uses connections of its own, so publishing never waits for it. Nothing is declared,
bound or consumed. When the broker or a queue is missing, its depth is stored as unknown.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.table import queues
from auth_service.settings import RelaySettings
from service_kit.broker.queue_depths import QueueLook
from service_kit.database.engines import pooled
from service_kit.database.rounds import repeat

EVERY_SECONDS: Final = 5.0
"""The interval at which consumers sample their own queues."""


async def watch_queues(settings: RelaySettings) -> None:
    """Observe the queues every ``EVERY_SECONDS`` until cancelled; without any, only wait."""
    if not settings.watched_queues:
        await asyncio.Event().wait()
    engine = pooled(settings)
    look = QueueLook(settings.amqp_url, settings.watched_queues, name="auth-service relay: queues")

    async def observe() -> None:
        await _store(engine, await look.depths())

    try:
        await repeat("queues", observe, every_seconds=EVERY_SECONDS)
    finally:
        await look.close()
        await engine.dispose()


async def _store(engine: AsyncEngine, seen: Mapping[str, int | None]) -> None:
    values: list[dict[str, Any]] = [
        {"name": name, "messages": messages} for name, messages in sorted(seen.items())
    ]
    statement = insert(queues).values(values)
    kept = {"messages": statement.excluded.messages, "seen_at": func.clock_timestamp()}
    async with engine.begin() as connection:
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_=kept)
        )
        # Remove queues that the setting no longer names.
        await connection.execute(queues.delete().where(queues.c.name.not_in(list(seen))))
