"""Which events a claim of the relay takes: the first of each lane."""

from collections.abc import Sequence
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.backlog import claim, mark_published
from contracts.events import Heartbeat
from tests.model import product
from tests.model.state import BEAT, Entry, Record
from tests.support.builders import a_state
from tests.support.relaying import Pipe, recorded

USERS = [UUID(int=number << 32) for number in range(1, 6)]

BURST = 2_000
"""More changes of one user than a round has events."""


@pytest.mark.parametrize("seed", range(20))
async def test_a_claim_takes_the_first_event_of_each_user_as_the_model_does(
    auth_engine: AsyncEngine, seed: int
) -> None:
    """Random logs, some of whose events are published or set aside."""
    random = Random(seed)
    users = [random.choice([BEAT, *range(len(USERS))]) for _ in range(30)]
    waits = [random.random() < 0.7 for _ in users]
    async with auth_engine.connect() as connection:
        await insert(connection, users, waits)
        entries = tuple(
            Entry(position, user, Record(1, 1))
            for position, (user, is_waiting) in enumerate(zip(users, waits, strict=True), start=1)
            if is_waiting
        )

        claimed = await claim(connection, 100)

    expected = sorted(entry.position for entry in product.first_wave(entries))
    assert [event.position for event in claimed.events] == expected


async def test_claims_go_from_user_to_user(auth_engine: AsyncEngine) -> None:
    """Each begins after the last user of the one before, and all users have their turn."""
    await recorded(auth_engine, *(a_state(user, n) for n in (1, 2, 3) for user in USERS))
    async with auth_engine.connect() as connection:
        first = await claim(connection, 2)
        second = await claim(connection, 2, after=first.last)
        third = await claim(connection, 2, after=second.last)
        fourth = await claim(connection, 2, after=third.last)

    taken = [event.user_id for each in (first, second, third) for event in each.events]
    assert taken == USERS
    assert not fourth.events


async def test_a_published_event_whose_row_is_locked_gives_way_to_the_next(
    auth_engine: AsyncEngine,
) -> None:
    await recorded(auth_engine, a_state(USERS[0], 1), a_state(USERS[0], 2))
    async with auth_engine.connect() as connection:
        claimed = await claim(connection, 10, held=[1])
        await mark_published(connection, [event.position for event in claimed.events])
        rest = await claim(connection, 10, held=[1])

    assert [event.version for event in claimed.events] == [2]
    assert not rest.events


async def test_one_users_burst_holds_nobody_up(pipe: Pipe) -> None:
    """Users who change after them are published with the first of their events."""
    ada = a_state(version=1)
    others = [a_state() for _ in range(5)]
    await pipe.record(*(a_state(ada.id, version) for version in range(1, BURST + 1)))
    await pipe.record(*others)

    async with pipe.rounds() as run_once:
        done = await run_once()

    messages = await pipe.taken(6)
    assert done.claimed == 6
    assert {message.event.data.subject for message in messages} == {
        ada.id,
        *(other.id for other in others),
    }


async def insert(connection: AsyncConnection, users: Sequence[int], waits: Sequence[bool]) -> None:
    """Insert an event for each of ``users``; those that do not wait are published or set aside."""
    for number, (user, is_waiting) in enumerate(zip(users, waits, strict=True)):
        values = {
            "type": Heartbeat.type if user == BEAT else "user.updated",
            "user": None if user == BEAT else USERS[user],
            "version": None if user == BEAT else 1,
            "is_published": not is_waiting and number % 2 == 0,
            "set_aside": 2 * (not is_waiting and number % 2 == 1),
        }
        await connection.execute(
            text(
                "INSERT INTO outbox_events (type, user_id, version, payload, published_at,"
                " set_aside) VALUES (:type, CAST(:user AS uuid), :version, '{}',"
                " CASE WHEN :is_published THEN now() END, :set_aside)"
            ),
            values,
        )
