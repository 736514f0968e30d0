"""What the relay publishes, in which order, and when it marks an event as published."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import uuid4

import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox import backlog
from auth_service.outbox.publisher import BODY_BYTES_MAX, Outcome, publisher
from auth_service.outbox.record import record
from auth_service.outbox.table import RELAY_LEASE
from contracts.events import UserCreated, UserDeleted, UserUpdated
from contracts.events.envelope import StoredEvent
from tests.support.accounts import Accounts
from tests.support.builders import NOON, a_state
from tests.support.eventually import eventually
from tests.support.inbox import execute
from tests.support.relaying import (
    QUEUE,
    Pipe,
    assert_in_order_per_user,
    drained,
    proxied,
    relaying,
    rounds,
)
from tests.support.scripted_broker import scripted_broker


async def test_recorded_events_are_published_in_order(accounts: Accounts, pipe: Pipe) -> None:
    """Each event once, in order of position, persistent, with its headers and its recorded body."""
    ada, bob = [await accounts.sign_up(f"{name}@example.org") for name in ("ada", "bob")]
    await accounts.change_email(ada, "lovelace@example.org")

    done = await pipe.drained()

    messages = await pipe.taken(3)
    rows = await pipe.outbox()
    assert [each.outcomes for each in done] == [{Outcome.CONFIRMED: 2}, {Outcome.CONFIRMED: 1}]
    assert [message.routing_key for message in messages] == [row.type for row in rows]
    assert [message.event.data.subject for message in messages] == [ada.id, bob.id, ada.id]
    for row, message in zip(rows, messages, strict=True):
        assert message.body.decode() == row.text
        assert message.properties.delivery_mode == 2
        assert message.properties.message_id == str(row.event_id)
        assert message.headers["cloudEvents_sequence"] == f"{row.position:020d}"
        assert message.headers["cloudEvents_source"] == pipe.settings.issuer
        assert message.event.time == row.occurred_at
        assert message.event.data.subject_version == row.version
        assert row.published_at is not None
    assert await pipe.source.ready(QUEUE) == 0


async def test_a_recorded_payload_is_published_byte_for_byte(pipe: Pipe) -> None:
    """A field that a newer writer recorded passes through an older relay unharmed."""
    payload = '{ "tomorrow" : 1.0,  "tomorrow": [ "\\u00e9", "é" ] }'
    await pipe.execute(
        "INSERT INTO outbox_events (type, user_id, version, payload, traceparent)"
        f" VALUES ('user.merged', gen_random_uuid(), 1, '{payload}'::text::json, 'trace')"
    )

    await pipe.drained()

    [message] = await pipe.taken(1)
    assert message.body.decode() == payload
    assert message.routing_key == "user.merged"
    assert message.headers["cloudEvents_traceparent"] == "trace"


async def test_an_event_is_marked_published_only_after_its_confirm(pipe: Pipe) -> None:
    """An event that has arrived stays unpublished until its confirm arrives."""
    await pipe.record(a_state())
    async with proxied(pipe.settings) as (proxy, settings), rounds(settings) as run_once:
        proxy.swallow_answers()
        running = asyncio.ensure_future(run_once())
        await pipe.taken(1)

        before = await pipe.outbox()
        proxy.swallow_answers(False)
        done = await running

    after = await pipe.outbox()
    assert [row.published_at for row in before] == [None]
    assert done.outcomes == {Outcome.CONFIRMED: 1}
    assert after[0].published_at is not None


async def test_one_event_per_user_is_in_flight_at_a_time(pipe: Pipe) -> None:
    """A user's second event waits for the confirm of the first."""
    ada, bob = a_state(version=1), a_state(version=1)
    await pipe.record(ada, bob, a_state(ada.id, 2), a_state(bob.id, 2), a_state(ada.id, 3))
    async with proxied(pipe.settings) as (proxy, settings), rounds(settings) as run_once:
        proxy.swallow_answers()
        running = asyncio.ensure_future(run_once())
        first = await pipe.taken(2)

        waiting = await pipe.source.ready(QUEUE)
        proxy.swallow_answers(False)
        await running
        await drained(run_once)

    rest = await pipe.taken(3)
    assert waiting == 0
    assert {message.event.data.subject for message in first} == {ada.id, bob.id}
    assert [message.event.data.subject_version for message in first] == [1, 1]
    assert [message.event.data.subject_version for message in rest] == [2, 2, 3]


async def test_the_next_wave_is_sent_while_one_is_unconfirmed(pipe: Pipe) -> None:
    """Two waves are in flight, and no user has an event in both."""
    users = [a_state(version=1) for _ in range(5)]
    heartbeat = "SELECT position FROM outbox_events WHERE published_at IS NOT NULL"
    async with proxied(pipe.changed(relay_batch_size=2)) as (proxy, settings), relaying(settings):
        await eventually(lambda: pipe.fetch(heartbeat))
        proxy.swallow_answers()
        await pipe.record(*users, *(a_state(user.id, 2) for user in users))
        first = await pipe.taken(4)

        waiting = await pipe.source.ready(QUEUE)
        proxy.swallow_answers(False)
        rest = await pipe.taken(6)
        await eventually(pipe.all_published)

    assert waiting == 0
    assert [message.event.data.subject for message in first] == [user.id for user in users[:4]]
    assert_in_order_per_user(first + rest)
    assert len({message.event.id for message in first + rest}) == 10


async def test_an_erased_event_is_not_sent_and_the_tombstone_follows(
    accounts: Accounts, pipe: Pipe
) -> None:
    """A row whose payload was erased before publishing is marked published without being sent."""
    ada = await accounts.sign_up("ada@example.org")
    await accounts.change_email(ada, "a@example.org")
    await accounts.delete(ada)

    done = await pipe.drained()

    [message] = await pipe.taken(1)
    rows = await pipe.outbox()
    assert sum(each.erased for each in done) == 2
    assert sum((each.outcomes for each in done), Counter()) == {Outcome.CONFIRMED: 1}
    assert message.routing_key == UserDeleted.type
    assert message.event.data.subject == ada.id
    assert [row.type for row in rows] == [UserCreated.type, UserUpdated.type, UserDeleted.type]
    assert all(row.published_at is not None for row in rows)
    assert await pipe.source.ready(QUEUE) == 0


async def test_an_event_erased_while_an_earlier_one_is_in_flight_is_not_sent(
    accounts: Accounts, pipe: Pipe
) -> None:
    """A slow broker holds up a user's first event; meanwhile the user is deleted."""
    ada = await accounts.sign_up("ada@example.org")
    for address in ("a@example.org", "b@example.org"):
        await accounts.change_email(ada, address)
    async with proxied(pipe.settings) as (proxy, settings), rounds(settings) as run_once:
        proxy.swallow_answers()
        running = asyncio.ensure_future(run_once())
        await pipe.taken(1)

        await accounts.delete(ada)
        proxy.swallow_answers(False)
        await running
        await drained(run_once)

    messages = await pipe.rest()
    assert [message.routing_key for message in messages] == [UserDeleted.type]
    assert await pipe.all_published()


async def test_a_tombstone_without_payload_is_still_published(pipe: Pipe) -> None:
    await pipe.insert(UserDeleted.type, user_id := uuid4(), payload="NULL")

    await pipe.drained()

    [message] = await pipe.taken(1)
    assert (message.event.data.subject, message.event.data.subject_version) == (user_id, 1)


async def test_commits_out_of_the_order_of_positions_are_all_published(pipe: Pipe) -> None:
    """The relay finds rows by their state, never by "position greater than the last"."""
    late, early = a_state(), a_state()
    async with pipe.relaying():
        async with pipe.engine.begin() as slow:
            await record(slow, UserUpdated.type, late)
            await pipe.record(early)
            [first] = await pipe.taken(1)
            await eventually(pipe.all_published)

        [second] = await pipe.taken(1)

    rows = await pipe.outbox()
    assert [row.user_id for row in rows] == [late.id, early.id]
    assert [m.event.data.subject for m in (first, second)] == [early.id, late.id]


async def test_a_rolled_back_event_is_never_published(pipe: Pipe) -> None:
    undone, done = a_state(), a_state()
    async with pipe.engine.connect() as connection:
        await record(connection, UserUpdated.type, undone)
        await connection.rollback()
    await pipe.record(done)

    [result] = await pipe.drained()

    [message] = await pipe.taken(1)
    assert result.claimed == 1
    assert message.event.data.subject == done.id


async def test_a_backlog_larger_than_a_batch_is_published_completely(pipe: Pipe) -> None:
    """Many events of few users: all are published once, in order per user."""
    users = [a_state().id for _ in range(7)]
    states = [a_state(users[n % 7], n // 7 + 1) for n in range(300)]
    await pipe.record(*states)

    async with pipe.relaying(relay_batch_size=50):
        messages = await pipe.taken(300)
        await eventually(pipe.all_published)

    assert_in_order_per_user(messages)
    assert len({message.event.id for message in messages}) == 300


@pytest.mark.parametrize(("log", "waiting"), [(0, 0), (50_000, 0), (50_000, 100), (50_000, 20_000)])
async def test_reading_and_marking_use_an_index_however_long_the_log(
    auth_engine: AsyncEngine, log: int, waiting: int
) -> None:
    """The work per event does not grow with the log, even if the statistics are out of date."""
    await execute(
        auth_engine,
        "INSERT INTO outbox_events (type, user_id, version, payload, published_at) SELECT"
        f" 'user.updated', gen_random_uuid(), 1, '{{}}', now() FROM generate_series(1, {log})",
        "INSERT INTO outbox_events (type, user_id, version, payload) SELECT 'user.updated',"
        f" gen_random_uuid(), 1, '{{}}' FROM generate_series(1, {waiting})",
    )
    alone = auth_engine.execution_options(isolation_level="AUTOCOMMIT")
    await execute(alone, "VACUUM (ANALYZE) outbox_events")

    plans = [
        await plan(auth_engine, statement, arguments, mode)
        for mode in ("force_custom_plan", "force_generic_plan")
        for statement, arguments in (
            (backlog._BY_LANE, (100, 50, [], "")),
            (backlog._BY_AGE, (100, 50, [])),
            (str(backlog._MARK.compile(dialect=auth_engine.dialect)), ([50_001, 50_002],)),
        )
    ]

    by_lane, by_age = plans[::3], plans[1::3]
    if log:
        assert all("Seq Scan" not in each for each in plans)
    # Each step of a claim goes to the next lane, and reads no further event of the one before.
    assert all(each.count("Scan using outbox_events_lanes_idx") == 2 for each in by_lane)
    assert all(each.count("Scan using outbox_events_urgent_idx") == 2 for each in by_lane)
    assert all(each.count("Index Cond: ((COALESCE(") == 4 for each in by_lane)
    # The oldest events are the first of the index, and nothing is sorted.
    assert all("Scan using outbox_events_unpublished_idx" in each for each in by_age)
    assert all("Sort" not in each for each in by_age)


async def plan(engine: AsyncEngine, statement: str, arguments: Sequence[object], mode: str) -> str:
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        for name, value in {**RELAY_LEASE.settings, "plan_cache_mode": mode}.items():
            await raw.execute(f"SET {name} = {value}")
        lines = await raw.fetch(f"EXPLAIN {statement}", *arguments)
        await raw.execute("RESET ALL")
    return "\n".join(line[0] for line in lines)


@pytest.mark.parametrize("size", [2, BODY_BYTES_MAX])
async def test_a_broker_without_a_limit_on_frames_gets_the_body_in_one(size: int) -> None:
    event = StoredEvent(
        event_id=uuid4(), type=UserUpdated.type, occurred_at=NOON, payload="x" * size
    )
    async with scripted_broker(frame_max=0) as broker:
        url = f"amqp://127.0.0.1:{broker.port}/"
        async with publisher(url, source="https://auth.test", timeout_seconds=10) as publishing:
            outcomes = asyncio.create_task(publishing.publish([event]))
            await eventually(lambda: broker.count(ContentBody) == 1)
            broker.send(1, Basic.Ack(1))

            assert await outcomes == [Outcome.CONFIRMED]
    [body] = [frame for _, frame in broker.received if isinstance(frame, ContentBody)]
    assert body.value == b"x" * size
