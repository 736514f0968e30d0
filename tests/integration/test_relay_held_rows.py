"""A row that another session has locked delays only itself; the relay publishes everything else."""

import pytest

from auth_service.outbox.metrics import OutboxFigures
from contracts.events import Beat
from tests.support.builders import a_state
from tests.support.database_sessions import holding
from tests.support.eventually import eventually
from tests.support.relaying import Pipe

SOON = 5.0
"""Seconds within which other events are published, and within which the relay recovers."""


@pytest.mark.parametrize("mode", ["FOR UPDATE", "FOR SHARE"])
async def test_a_locked_event_delays_no_other_event(pipe: Pipe, mode: str) -> None:
    """It is published once and marked when its row is unlocked; meanwhile status names it."""
    ada = a_state(version=1)
    await pipe.record(ada)
    query = f"SELECT 1 FROM outbox_events WHERE user_id = '{ada.id}' {mode}"
    async with pipe.relaying():
        async with holding(pipe.engine, query):
            await pipe.taken(1)
            for _ in range(3):
                await pipe.record(a_state(), a_state())
                await pipe.taken(2, within=SOON)
            await pipe.record(a_state(ada.id, 2))
            [second] = await pipe.taken(1, within=SOON)
            assert second.event.data.subject == ada.id

            shown = await pipe.shows(has_one_held_row)
            assert shown.relay == "active"
            assert shown.pipe == "behind: another session has locked 1 rows that wait to be marked"
        await eventually(pipe.all_published, within=SOON)
        await pipe.shows(is_quiet, within=SOON)

    assert await pipe.rest() == []


async def test_a_key_share_lock_does_not_count_as_held(pipe: Pipe) -> None:
    """``FOR KEY SHARE`` does not keep the relay from marking the row."""
    ada = a_state()
    await pipe.record(ada)
    query = f"SELECT 1 FROM outbox_events WHERE user_id = '{ada.id}' FOR KEY SHARE"
    async with holding(pipe.engine, query), pipe.relaying():
        await pipe.taken(1)
        await eventually(pipe.all_published, within=SOON)


async def test_a_locked_source_row_delays_heartbeats_only(pipe: Pipe) -> None:
    """Events are still published; later heartbeats have no gap in their numbers."""
    async with pipe.relaying(heartbeat_seconds=0.5):
        await pipe.shows(is_quiet)
        first = await pipe.leader()
        async with holding(pipe.engine, "SELECT 1 FROM source FOR UPDATE"):
            for _ in range(3):
                await pipe.record(a_state())
                await pipe.taken(1, within=SOON)

            shown = await pipe.shows(has_one_held_row)
            assert shown.relay == "active"
            assert "another session has locked the row of source" in shown.pipe
        number = (await pipe.figures()).last_heartbeat
        await pipe.shows(lambda shown: shown.last_heartbeat > number + 1, within=SOON)
        await pipe.shows(is_quiet, within=SOON)
        assert await pipe.leader() == first

    rows = await pipe.fetch("SELECT payload FROM outbox_events WHERE user_id IS NULL")
    numbers = [Beat(**row.payload).number for row in rows]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


async def test_the_relay_recovers_from_a_lock_on_the_whole_table(pipe: Pipe) -> None:
    """The relay stays active, reports the lock, and continues within seconds after it."""
    async with pipe.relaying():
        await pipe.record(a_state())
        await pipe.taken(1)
        await pipe.shows(is_quiet)
        first = await pipe.leader()
        async with holding(pipe.engine, "LOCK TABLE outbox_events IN ACCESS EXCLUSIVE MODE"):
            await pipe.has_trouble("another session has locked the table of events")
            assert await pipe.leader() == first

        await pipe.record(a_state())
        await pipe.taken(1, within=2 * SOON)
        await pipe.shows(is_quiet, within=SOON)
        assert await pipe.leader() == first
    assert len(await pipe.outbox()) == 2


def has_one_held_row(shown: OutboxFigures) -> bool:
    return shown.held_rows == 1


def is_quiet(shown: OutboxFigures) -> bool:
    return shown.pipe in ("quiet", "publishing") and not shown.held_rows
