"""A row that another session has locked delays only itself; the relay publishes everything else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.metrics import OutboxFigures, figures
from contracts.events import Beat
from tests.support.builders import a_state
from tests.support.eventually import eventually
from tests.support.relaying import QUEUE, Carried, Pipe

SOON = 5.0
"""Seconds within which other events are published, and within which the relay recovers."""


@asynccontextmanager
async def held(engine: AsyncEngine, statement: str) -> AsyncIterator[None]:
    """A session that has run a statement in a transaction and leaves the transaction open."""
    async with engine.connect() as connection:
        await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await connection.execute(text(statement))
        yield
        await connection.rollback()


@pytest.mark.parametrize("mode", ["FOR UPDATE", "FOR SHARE"])
async def test_a_locked_event_delays_no_other_event(pipe: Pipe, mode: str) -> None:
    """It is published once and marked when its row is unlocked; meanwhile status names it."""
    ada = a_state(version=1)
    await pipe.record(ada)
    query = f"SELECT 1 FROM outbox_events WHERE user_id = '{ada.id}' {mode}"
    async with pipe.relaying():
        async with held(pipe.engine, query):
            await pipe.taken(1)
            for _ in range(3):
                await pipe.record(a_state(), a_state())
                await pipe.taken(2, within=SOON)
            await pipe.record(a_state(ada.id, 2))
            [second] = await pipe.taken(1, within=SOON)
            assert second.event.data.subject == ada.id

            async def is_named() -> bool:
                return (await pipe.figures()).held_rows == 1

            await eventually(is_named)
            shown = await pipe.figures()
            assert shown.relay == "active"
            assert shown.pipe == "behind: another session has locked 1 rows that wait to be marked"
        await eventually(pipe.all_published, within=SOON)
        await eventually(lambda: is_quiet(pipe.engine), within=SOON)

    left = [Carried(message) for message in await pipe.source.take_all(QUEUE)]
    assert {message.routing_key for message in left} <= {"sync.heartbeat"}


async def test_a_key_share_lock_does_not_count_as_held(pipe: Pipe) -> None:
    """``FOR KEY SHARE`` does not keep the relay from marking the row."""
    ada = a_state()
    await pipe.record(ada)
    query = f"SELECT 1 FROM outbox_events WHERE user_id = '{ada.id}' FOR KEY SHARE"
    async with held(pipe.engine, query), pipe.relaying():
        await pipe.taken(1)
        await eventually(pipe.all_published, within=SOON)


async def test_a_locked_source_row_delays_heartbeats_only(pipe: Pipe) -> None:
    """Events are still published; later heartbeats have no gap in their numbers."""
    async with pipe.relaying(heartbeat_seconds=0.5):
        await eventually(lambda: is_quiet(pipe.engine))
        first = await pipe.leader()
        async with held(pipe.engine, "SELECT 1 FROM source FOR UPDATE"):
            for _ in range(3):
                await pipe.record(a_state())
                await pipe.taken(1, within=SOON)

            async def is_named() -> bool:
                return (await pipe.figures()).held_rows == 1

            await eventually(is_named)
            shown = await pipe.figures()
            assert shown.relay == "active"
            assert "another session has locked the row of source" in shown.pipe
        number = (await pipe.figures()).last_heartbeat

        async def comes_again() -> bool:
            return (await pipe.figures()).last_heartbeat > number + 1

        await eventually(comes_again, within=SOON)
        await eventually(lambda: is_quiet(pipe.engine), within=SOON)
        assert await pipe.leader() == first

    rows = await pipe.fetch("SELECT payload FROM outbox_events WHERE user_id IS NULL")
    numbers = [Beat(**row.payload).number for row in rows]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


async def test_the_relay_recovers_from_a_lock_on_the_whole_table(pipe: Pipe) -> None:
    """The relay stays active, reports the lock, and continues within seconds after it."""
    async with pipe.relaying():
        await pipe.record(a_state())
        await pipe.taken(1)
        await eventually(lambda: is_quiet(pipe.engine))
        first = await pipe.leader()
        async with held(pipe.engine, "LOCK TABLE outbox_events IN ACCESS EXCLUSIVE MODE"):

            async def is_named() -> bool:
                [row] = await pipe.fetch("SELECT trouble FROM source")
                return bool(row.trouble == "another session has locked the table of events")

            await eventually(is_named)
            assert await pipe.leader() == first

        await pipe.record(a_state())
        await pipe.taken(1, within=2 * SOON)
        await eventually(lambda: is_quiet(pipe.engine), within=SOON)
        assert await pipe.leader() == first
    assert len(await pipe.outbox()) == 2


async def read_figures(engine: AsyncEngine) -> OutboxFigures:
    async with engine.connect() as connection:
        return await figures(connection, heartbeat_seconds=1)


async def is_quiet(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        found = await figures(connection, heartbeat_seconds=15)
    return found.pipe in ("quiet", "publishing") and not found.held_rows
