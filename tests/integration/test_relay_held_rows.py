"""A row that another session has locked delays only itself; the relay publishes everything else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.metrics import OutboxFigures, figures
from auth_service.settings import RelaySettings
from contracts.events import Beat
from tests.support.builders import a_state
from tests.support.eventually import eventually
from tests.support.inbox import fetch
from tests.support.relaying import (
    QUEUE,
    Carried,
    all_published,
    bind,
    leader,
    outbox,
    recorded,
    relaying,
    taken,
)
from tests.support.source import Source

SOON = 5.0
"""Seconds within which other events are published, and within which the relay recovers."""


@pytest.fixture
async def bound(source: Source) -> Source:
    await bind(source)
    return source


@asynccontextmanager
async def held(engine: AsyncEngine, statement: str) -> AsyncIterator[None]:
    """A session that has run a statement in a transaction and leaves the transaction open."""
    async with engine.connect() as connection:
        await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await connection.execute(text(statement))
        yield
        await connection.rollback()


@pytest.mark.parametrize("mode", ["FOR UPDATE", "FOR SHARE"])
async def test_a_locked_event_delays_no_other_event(
    auth_engine: AsyncEngine, relay_settings: RelaySettings, bound: Source, mode: str
) -> None:
    """It is published once and marked when its row is unlocked; meanwhile status names it."""
    ada = a_state(version=1)
    await recorded(auth_engine, ada)
    query = f"SELECT 1 FROM outbox_events WHERE user_id = '{ada.id}' {mode}"
    async with relaying(relay_settings):
        async with held(auth_engine, query):
            await taken(bound, 1)
            for _ in range(3):
                await recorded(auth_engine, a_state(), a_state())
                await taken(bound, 2, within=SOON)
            await recorded(auth_engine, a_state(ada.id, 2))
            [second] = await taken(bound, 1, within=SOON)
            assert second.event.data.subject == ada.id

            async def is_named() -> bool:
                return (await read_figures(auth_engine)).held_rows == 1

            await eventually(is_named)
            shown = await read_figures(auth_engine)
            assert shown.relay == "active"
            assert shown.pipe == "behind: another session has locked 1 rows that wait to be marked"
        await eventually(lambda: all_published(auth_engine), within=SOON)
        await eventually(lambda: is_quiet(auth_engine), within=SOON)

    left = [Carried(message) for message in await bound.take_all(QUEUE)]
    assert {message.routing_key for message in left} <= {"sync.heartbeat"}


async def test_a_key_share_lock_does_not_count_as_held(
    auth_engine: AsyncEngine, relay_settings: RelaySettings, bound: Source
) -> None:
    """``FOR KEY SHARE`` does not keep the relay from marking the row."""
    ada = a_state()
    await recorded(auth_engine, ada)
    query = f"SELECT 1 FROM outbox_events WHERE user_id = '{ada.id}' FOR KEY SHARE"
    async with held(auth_engine, query), relaying(relay_settings):
        await taken(bound, 1)
        await eventually(lambda: all_published(auth_engine), within=SOON)


async def test_a_locked_source_row_delays_heartbeats_only(
    auth_engine: AsyncEngine, relay_settings: RelaySettings, bound: Source
) -> None:
    """Events are still published; later heartbeats have no gap in their numbers."""
    settings = relay_settings.model_copy(update={"heartbeat_seconds": 0.5})
    async with relaying(settings):
        await eventually(lambda: is_quiet(auth_engine))
        first = await leader(auth_engine)
        async with held(auth_engine, "SELECT 1 FROM source FOR UPDATE"):
            for _ in range(3):
                await recorded(auth_engine, a_state())
                await taken(bound, 1, within=SOON)

            async def is_named() -> bool:
                return (await read_figures(auth_engine)).held_rows == 1

            await eventually(is_named)
            shown = await read_figures(auth_engine)
            assert shown.relay == "active"
            assert "another session has locked the row of source" in shown.pipe
        number = (await read_figures(auth_engine)).last_heartbeat

        async def comes_again() -> bool:
            return (await read_figures(auth_engine)).last_heartbeat > number + 1

        await eventually(comes_again, within=SOON)
        await eventually(lambda: is_quiet(auth_engine), within=SOON)
        assert await leader(auth_engine) == first

    rows = await fetch(auth_engine, "SELECT payload FROM outbox_events WHERE user_id IS NULL")
    numbers = [Beat(**row.payload).number for row in rows]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


async def test_the_relay_recovers_from_a_lock_on_the_whole_table(
    auth_engine: AsyncEngine, relay_settings: RelaySettings, bound: Source
) -> None:
    """The relay stays active, reports the lock, and continues within seconds after it."""
    async with relaying(relay_settings):
        await recorded(auth_engine, a_state())
        await taken(bound, 1)
        await eventually(lambda: is_quiet(auth_engine))
        first = await leader(auth_engine)
        async with held(auth_engine, "LOCK TABLE outbox_events IN ACCESS EXCLUSIVE MODE"):

            async def is_named() -> bool:
                [row] = await fetch(auth_engine, "SELECT trouble FROM source")
                return bool(row.trouble == "another session has locked the table of events")

            await eventually(is_named)
            assert await leader(auth_engine) == first

        await recorded(auth_engine, a_state())
        await taken(bound, 1, within=2 * SOON)
        await eventually(lambda: is_quiet(auth_engine), within=SOON)
        assert await leader(auth_engine) == first
    assert len(await outbox(auth_engine)) == 2


async def read_figures(engine: AsyncEngine) -> OutboxFigures:
    async with engine.connect() as connection:
        return await figures(connection, heartbeat_seconds=1)


async def is_quiet(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        found = await figures(connection, heartbeat_seconds=15)
    return found.pipe in ("quiet", "publishing") and not found.held_rows
