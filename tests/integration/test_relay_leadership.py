"""One relay is active and another takes over; wake-ups, idle relays and heartbeats."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.relay import POLL_SECONDS
from contracts.events import Beat
from service_kit.database.lease import ACQUIRE_SECONDS, LEASE_SECONDS
from tests.support.builders import a_state
from tests.support.database_sessions import end_sessions
from tests.support.eventually import eventually
from tests.support.inbox import fetch
from tests.support.relaying import QUEUE, Carried, Pipe, assert_all_in_order, leader

RELAY = "auth-service relay"

QUIET = {"heartbeat_seconds": 3600.0}
"""Its only heartbeat is the one at its start, so no later one wakes the relay."""


@pytest.fixture
async def arrivals(pipe: Pipe) -> asyncio.Queue[Carried]:
    """Collect messages about users as they arrive."""
    arrivals: asyncio.Queue[Carried] = asyncio.Queue()

    async def arrived(message: DeliveredMessage) -> None:
        if message.routing_key != "sync.heartbeat":
            arrivals.put_nowait(Carried(message))

    await pipe.source.channel.basic_consume(QUEUE, arrived, no_ack=True)
    return arrivals


async def test_another_relay_takes_over_at_once(pipe: Pipe) -> None:
    """When the active relay's session ends, its lock ends too, and the other relay takes over."""
    async with pipe.relaying(**QUIET), pipe.relaying(**QUIET):
        first = await eventually(pipe.leader)
        await eventually(lambda: waiting(pipe.engine))
        await pipe.record(a_state())
        await pipe.taken(1)

        await end_sessions(pipe.engine, f"pid = {first}")
        # Far less than the ten seconds after which an idle lease expires.
        second = await eventually(pipe.leader, within=LEASE_SECONDS / 2)
        await pipe.record(a_state())
        await pipe.taken(1)

    assert second != first


async def test_a_single_relay_resumes_after_its_session_ended(pipe: Pipe) -> None:
    """It notices the lost session at once, even while it waits for a commit.

    A relay that leads again shows its own trouble, not that of the relay before it.
    """
    async with pipe.relaying(**QUIET):
        first = await eventually(pipe.leader)
        await becomes_idle(pipe.engine)
        await pipe.execute("UPDATE source SET trouble = 'of another', trouble_since = now()")

        await end_sessions(pipe.engine, f"pid = {first}")
        await pipe.record(a_state())
        await pipe.taken(1)

        await eventually(lambda: is_well(pipe.engine))


async def test_the_order_per_user_survives_every_change_of_the_active_relay(pipe: Pipe) -> None:
    """Sessions end during the work: nothing is lost, and first publications stay in order."""
    users = [a_state().id for _ in range(5)]
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(pipe.relaying(**QUIET))
        leaders = set()
        for version in range(1, 41):
            await pipe.record(*(a_state(user, version) for user in users))
            if version % 10 == 0:
                active = await eventually(pipe.leader)
                leaders.add(active)
                await end_sessions(pipe.engine, f"pid = {active}")

        await eventually(pipe.all_published, within=60)

    assert len(leaders) == 4
    assert_all_in_order(await pipe.rest(), users, range(1, 41))


async def test_no_wake_up_is_lost(pipe: Pipe, arrivals: asyncio.Queue[Carried]) -> None:
    """200 commits at varying moments, while the relay falls asleep, are each published at once."""
    state = a_state()
    async with pipe.relaying(**QUIET):
        for version in range(1, 201):
            await pipe.record(a_state(state.id, version))

            # No heartbeat and no other commit would wake a relay that missed this one.
            message = await asyncio.wait_for(arrivals.get(), 10)

            assert message.event.data.subject_version == version
            for _ in range(version % 20):
                await asyncio.sleep(0)  # a different moment each time


async def test_a_commit_wakes_the_relay_from_another_session(
    pipe: Pipe, arrivals: asyncio.Queue[Carried]
) -> None:
    """Many sessions commit at once: each event is published although they share a wake-up."""
    async with pipe.relaying(**QUIET):
        await eventually(lambda: is_idle(pipe.engine))
        await asyncio.gather(*(pipe.record(a_state()) for _ in range(50)))
        for _ in range(50):
            await asyncio.wait_for(arrivals.get(), 10)


async def test_an_idle_relay_polls_every_few_seconds_only(pipe: Pipe) -> None:
    """Between two heartbeats the relay waits for a commit, and renews its lease by polling."""
    async with pipe.relaying(heartbeat_seconds=2.5 * POLL_SECONDS):
        await becomes_idle(pipe.engine)
        number = await heartbeats(pipe.engine)
        queries = set()

        async def next_heartbeat() -> bool:
            queries.add(await last_query(pipe.engine))
            return await heartbeats(pipe.engine) > number

        await eventually(next_heartbeat)

    # Two polls; the statements for the heartbeat may show before its number does.
    assert len(queries) <= 5


async def test_heartbeats_are_numbered_without_gaps(pipe: Pipe) -> None:
    """Heartbeats go through the outbox like any event, across a change of the active relay too."""
    for _ in range(2):  # another relay continues where the first one stopped
        already = await heartbeats(pipe.engine)
        async with pipe.relaying(heartbeat_seconds=0.05):
            await eventually(partial(passed, pipe.engine, already + 4))
        await eventually(partial(is_over, pipe.engine))

    messages = [Carried(message) for message in await pipe.source.take_all(QUEUE)]
    events = [message.event for message in messages]
    rows = await pipe.fetch("SELECT * FROM outbox_events ORDER BY position")
    numbers = [event.data.number for event in events if isinstance(event.data, Beat)]
    distinct = sorted(set(numbers))
    assert len(distinct) >= 8
    assert distinct == list(range(1, len(distinct) + 1))
    assert [row.payload for row in rows] == [{"number": n} for n in range(1, len(rows) + 1)]
    assert {message.routing_key for message in messages} == {"sync.heartbeat"}
    assert all(row.user_id is None and row.version is None for row in rows)
    assert await heartbeats(pipe.engine) == len(rows)


async def test_a_waiting_relay_holds_no_snapshot_and_fills_no_log(unbound: Pipe) -> None:
    """It tries the lock from time to time, instead of waiting for it inside the database."""
    async with unbound.relaying(**QUIET), unbound.relaying(**QUIET):
        await eventually(unbound.leader)
        await eventually(lambda: waiting(unbound.engine))
        asked: set[datetime] = set()

        async def retried() -> bool:
            [session] = await waiting(unbound.engine)
            assert session.state == "active" or session.backend_xmin is None
            assert session.wait_event != "advisory"
            asked.add(session.query_start)
            return len(asked) > 2

        await eventually(retried, within=10 * ACQUIRE_SECONDS)


async def is_over(engine: AsyncEngine) -> bool:
    """Return whether the last statement of a cancelled relay has ended, with its session."""
    return await leader(engine) is None


async def becomes_idle(engine: AsyncEngine) -> None:
    seen: list[datetime | None] = []

    async def runs_no_statement() -> bool:
        seen.append(await last_query(engine))
        return seen[-1] is not None and len(seen) > 20 and len(set(seen[-20:])) == 1

    await eventually(lambda: is_idle(engine))
    await eventually(runs_no_statement)


async def last_query(engine: AsyncEngine) -> datetime | None:
    query = "SELECT query_start FROM pg_stat_activity WHERE pid = :pid"
    rows = await fetch(engine, query, pid=await leader(engine))
    return rows[0].query_start if rows else None


async def waiting(engine: AsyncEngine) -> list[Row[Any]]:
    return await fetch(
        engine,
        "SELECT * FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = :relay AND pid <> :leader",
        relay=RELAY,
        leader=await leader(engine) or 0,
    )


async def is_idle(engine: AsyncEngine) -> bool:
    """Return whether the relay has published everything, its first heartbeat included."""
    published = "SELECT 1 FROM outbox_events WHERE published_at IS NOT NULL AND user_id IS NULL"
    return bool(await fetch(engine, published))


async def is_well(engine: AsyncEngine) -> bool:
    well = "SELECT 1 FROM source WHERE trouble IS NULL AND trouble_since IS NULL"
    return bool(await fetch(engine, well))


async def heartbeats(engine: AsyncEngine) -> int:
    [row] = await fetch(engine, "SELECT heartbeat FROM source")
    return int(row.heartbeat)


async def passed(engine: AsyncEngine, number: int) -> bool:
    """Return whether that many heartbeats are recorded, and all of them published."""
    unpublished = await fetch(engine, "SELECT 1 FROM outbox_events WHERE published_at IS NULL")
    return await heartbeats(engine) >= number and not unpublished
