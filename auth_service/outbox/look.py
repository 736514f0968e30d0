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
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.db import DATABASE_AWAY, connect
from auth_service.outbox.table import queues
from auth_service.settings import RelaySettings
from service_kit import broker

log = structlog.get_logger()

EVERY_SECONDS: Final = 5.0
"""As often as consumers look themselves."""

LOOK_SECONDS_MAX: Final = 2.0
"""A broker that is there answers in milliseconds; the next look should not wait."""


async def keep_looking(settings: RelaySettings) -> None:
    """Look at the queues every few seconds until cancelled; at none, do nothing."""
    if not settings.watched_queues:
        await asyncio.Event().wait()
    engine = connect(settings)
    look = _Look(settings)
    try:
        while True:
            began = time.monotonic()
            try:
                await _note(engine, await look.messages())
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


class _Look:
    """Looks at the queues over a connection that is kept from one look to the next."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._connection: AbstractConnection | None = None

    async def messages(self) -> dict[str, int | None]:
        """How many messages are ready in each queue; all None when the broker does not answer."""
        names = self._settings.watched_queues
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                with broker.talking():
                    if self._connection is None:
                        name = "auth-service relay: queues"
                        self._connection = await broker.connect(self._settings.amqp_url, name=name)
                    return {name: await _messages(self._connection, name) for name in names}
        except broker.BROKER_ERRORS:
            await self.close()
            return dict.fromkeys(names)

    async def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await broker.close(connection)


async def _messages(connection: AbstractConnection, name: str) -> int | None:
    channel = await connection.channel()
    try:
        queue = await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:  # which has closed the channel
        return None
    await channel.close()
    return queue.declaration_result.message_count
