"""Which events a claim of the relay takes: the first of each lane."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.backlog import claim, mark_published
from auth_service.outbox.record import erase
from tests.model import product
from tests.model.state import BEAT, Entry, Record
from tests.support.builders import a_state, a_tombstone
from tests.support.database_sessions import committed, reading
from tests.support.databases import migrate
from tests.support.relaying import Pipe, recorded

USERS = [UUID(int=number << 32) for number in range(1, 6)]


BURST = 2_000
"""More changes of one user than a round has events."""


@pytest.mark.parametrize("seed", range(20))
async def test_a_claim_takes_the_first_event_of_each_user_as_the_model_does(
    auth_engine: AsyncEngine, seed: int
) -> None:
    """Random logs, some of whose events are published, set aside or urgent."""
    random = Random(seed)
    users = [random.choice([BEAT, *range(len(USERS))]) for _ in range(30)]
    waits = [random.random() < 0.7 for _ in users]
    urgent = [random.random() < 0.2 for _ in users]
    async with auth_engine.connect() as connection:
        await insert(connection, users, waits, urgent)
        entries = tuple(
            Entry(position, user, Record(1, 1))
            for position, (user, is_waiting) in enumerate(zip(users, waits, strict=True), start=1)
            if is_waiting
        )

        by_age = await claim(connection, 100)
        by_lane = await claim(connection, 100, after="")

    first = frozenset(position for position, each in enumerate(urgent, start=1) if each)
    expected = [entry.position for entry in product.first_wave(entries, first)]
    order = [event.is_urgent for event in by_age.events]
    assert by_age == by_lane
    assert sorted(event.position for event in by_age.events) == expected
    assert order == sorted(order, reverse=True), "an urgent event is not sent first"


async def test_a_claim_takes_the_oldest_events_of_lanes_that_have_none_in_flight(
    auth_engine: AsyncEngine,
) -> None:
    await recorded(auth_engine, *(a_state(user, n) for n in (1, 2) for user in USERS))
    async with auth_engine.connect() as connection:
        first = await claim(connection, 3)
        second = await claim(connection, 3, busy={event.lane for event in first.events})

    assert [event.position for event in first.events] == [1, 2, 3]
    assert [event.position for event in second.events] == [4, 5]
    assert (first.next_lane, first.is_last) == (None, False)


async def test_lanes_take_turns_when_few_have_most_of_the_oldest_events(
    auth_engine: AsyncEngine,
) -> None:
    await recorded(auth_engine, *(a_state(USERS[0], n) for n in range(1, 11)))
    await recorded(auth_engine, *(a_state(user) for user in USERS[1:]))
    async with auth_engine.connect() as connection:
        by_age = await claim(connection, 9)
        by_lane = await claim(connection, 9, after=by_age.next_lane)

    assert (len(by_age.events), by_age.next_lane, by_age.is_last) == (1, "", False)
    assert [event.user_id for event in by_lane.events] == USERS
    assert (by_lane.next_lane, by_lane.is_last) == (None, True)


async def test_claims_go_from_user_to_user(auth_engine: AsyncEngine) -> None:
    """Each begins after the last user of the one before, and all users have their turn."""
    await recorded(auth_engine, *(a_state(user, n) for n in (1, 2, 3) for user in USERS))
    async with auth_engine.connect() as connection:
        claims = [await claim(connection, 2, after="")]
        while not claims[-1].is_last:
            claims.append(await claim(connection, 2, after=claims[-1].next_lane))

    assert [len(each.events) for each in claims] == [2, 2, 1]
    assert [event.user_id for each in claims for event in each.events] == USERS
    assert claims[-1].next_lane is None


async def test_a_published_event_whose_row_is_locked_gives_way(auth_engine: AsyncEngine) -> None:
    await recorded(auth_engine, a_state(USERS[0], 1), a_state(USERS[0], 2))
    async with auth_engine.connect() as connection:
        claimed = await claim(connection, 10, held=[1])
        await mark_published(connection, [event.position for event in claimed.events])
        rest = await claim(connection, 10, held=[1])

    assert [event.version for event in claimed.events] == [2]
    assert not rest.events


async def test_one_users_burst_holds_nobody_up(pipe: Pipe) -> None:
    """Users who change after them are published with the second of their events."""
    ada, *others = [a_state() for _ in range(6)]
    await pipe.record(*(a_state(ada.id, version) for version in range(1, BURST + 1)))
    await pipe.record(*others)

    async with pipe.rounds() as run_once:
        rounds = [await run_once(), await run_once()]

    messages = await pipe.taken(7)
    assert [each.claimed for each in rounds] == [1, 6]
    come = [message.event.data.subject for message in messages]
    assert Counter(come) == Counter(each.id for each in (ada, ada, *others))


async def test_an_urgent_event_overtakes_others_and_earlier_ones_of_its_user(pipe: Pipe) -> None:
    """The user's other events stay in order, and one event of the user is sent at a time."""
    ada = a_state(version=1)
    await pipe.record(*(a_state() for _ in range(50)), ada, a_state(ada.id, 2))
    await pipe.record(a_state(ada.id, 3, status="disabled"), a_state(ada.id, 4))

    claimed = await reading(pipe.engine, claim, 10)
    await pipe.drained()

    messages = [message.event.data for message in await pipe.rest()]
    of_ada = [data.subject_version for data in messages if data.subject == ada.id]
    assert [event.version for event in claimed.events if event.user_id == ada.id] == [3]
    assert 9 <= len(claimed.events) <= 10
    assert of_ada == [3, 1, 2, 4]


async def test_urgent_events_leave_room_for_others(auth_engine: AsyncEngine) -> None:
    """Thousands of deletions do not stop everything else."""
    await recorded(auth_engine, *(a_state() for _ in range(200)))
    await recorded(auth_engine, *(a_state(status="disabled") for _ in range(200)))

    claimed = await reading(auth_engine, claim, 100)

    urgent = [event for event in claimed.events if event.is_urgent]
    assert 50 <= len(urgent) < len(claimed.events) <= 100


async def test_a_refused_urgent_event_holds_nobody_up(auth_engine: AsyncEngine) -> None:
    """A relay that tries one event at a time after a refusal goes on from lane to lane."""
    await recorded(auth_engine, *(a_state(user) for user in USERS))
    await recorded(auth_engine, refused := a_state(status="disabled"))
    after, tried = "", []
    async with auth_engine.connect() as connection:
        for _ in USERS:
            claimed = await claim(connection, 1, after=after)
            after = claimed.next_lane or ""
            tried += [event.user_id for event in claimed.events if event.user_id != refused.id]

    assert tried == USERS


async def test_a_deletion_waits_for_no_event_that_it_erases(auth_engine: AsyncEngine) -> None:
    user = USERS[0]
    await recorded(auth_engine, *(a_state(user, n, status="disabled") for n in (1, 2)))
    await committed(auth_engine, erase, user)
    await recorded(auth_engine, a_tombstone(user, 3))

    claimed = await reading(auth_engine, claim, 10)

    assert [event.version for event in claimed.events] == [3]


async def test_an_urgent_event_waits_for_none_that_is_set_aside(pipe: Pipe) -> None:
    """A user is disabled while no queue accepts another event about them."""
    ada = a_state(version=2)
    await pipe.insert("account.merged", ada.id)
    await pipe.record(ada)
    await pipe.drained()
    await pipe.record(a_state(ada.id, 3, status="disabled"))
    await pipe.drained()

    [message] = await pipe.rest()
    assert message.event.data.subject_version == 3


async def test_a_backlog_from_before_the_upgrade_is_published(pipe: Pipe, auth_url: str) -> None:
    """Events that were recorded and not published by an older version, in order per user."""
    await asyncio.to_thread(migrate, "auth", auth_url, "0019", command="downgrade")
    await pipe.execute(
        "INSERT INTO outbox_events (type, user_id, version, payload)"
        f" SELECT 'user.merged', '{USERS[0]}', n, '{{}}' FROM generate_series(1, 3) AS n"
    )
    await asyncio.to_thread(migrate, "auth", auth_url)

    await pipe.drained()

    messages = await pipe.rest()
    assert [message.headers["cloudEvents_subjectversion"][-1] for message in messages] == [*"123"]


async def insert(
    connection: AsyncConnection,
    users: Sequence[int],
    waits: Sequence[bool],
    urgent: Sequence[bool],
) -> None:
    """Insert an event for each of ``users``; those that do not wait are published or set aside."""
    for number, (user, is_waiting, is_urgent) in enumerate(zip(users, waits, urgent, strict=True)):
        about = "'sync.heartbeat', NULL, NULL"
        if user != BEAT:
            about = f"'user.updated', '{USERS[user]}', 1"
        done = "NULL, 0" if is_waiting else ("now(), 0", "NULL, 2")[number % 2]
        await connection.exec_driver_sql(
            "INSERT INTO outbox_events (type, user_id, version, published_at, set_aside,"
            f" is_urgent, payload) VALUES ({about}, {done}, {is_urgent}, '{{}}')"
        )
