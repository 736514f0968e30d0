"""Events in any order and number lead to the same replica."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import DatabaseSettings
from contracts.events import Data, UserState
from contracts.sync.merge import Outcome, State, fold
from replica.inbox.apply import apply
from service_kit.database.engines import pooled
from tests.support.builders import NOON, a_state, a_tombstone, an_event
from tests.support.content import People
from tests.support.database_sessions import committed
from tests.support.eventually import eventually
from tests.support.histories import histories, splits
from tests.support.inbox import apply_events, execute, fetch
from tests.support.inbox import replica as replica_of
from tests.support.locks import lock_waits
from tests.support.states import ODD_TEXTS

a_few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@settings(a_few, max_examples=60)
@given(batches=histories().flatmap(splits))
def test_every_order_duplication_and_split_ends_in_the_same_replica(
    converging: "Converging", batches: list[list[State]]
) -> None:
    assert converging.states(batches) == fold([state for batch in batches for state in batch])


@a_few
@given(
    one=histories().flatmap(splits), seed=st.randoms(use_true_random=False), parts=st.integers(2, 3)
)
def test_parallel_consumers_end_in_the_same_replica(
    converging: "Converging", one: list[list[State]], seed: Any, parts: int
) -> None:
    history = [state for batch in one for state in batch]
    orders = []
    for _ in range(parts):
        order = history.copy()
        seed.shuffle(order)
        orders.append([order[start : start + 5] for start in range(0, len(order), 5)])
    assert converging.states(*orders) == fold(history)


@a_few
@given(batches=histories().flatmap(splits))
def test_one_statement_does_what_a_transaction_does(
    converging: "Converging", batches: list[list[State]]
) -> None:
    """The same rows, and the same outcome of each event."""
    alone = converging.outcomes(batches, apply_events)
    assert alone == converging.outcomes(batches, apply_in_transaction)


async def apply_in_transaction(engine: AsyncEngine, *data: Data) -> list[Outcome]:
    async with engine.begin() as connection:
        return await apply(USERS, connection, [an_event(each) for each in data])


class Converging:
    """One database for all examples of a property; it is emptied after each."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._engine = pooled(DatabaseSettings(database_url=url))

    def states(self, *orders: list[list[State]]) -> list[State]:
        """Apply some orders of batches at once; return the states by id, and empty the table."""
        return self._runner.run(self._states(orders))

    async def _states(self, orders: Iterable[list[list[State]]]) -> list[State]:
        async def consume(batches: list[list[State]]) -> None:
            for batch in batches:
                await apply_events(self._engine, *batch)

        await asyncio.gather(*(consume(order) for order in orders))
        rows = await fetch(self._engine, "SELECT * FROM users ORDER BY id")
        await execute(self._engine, "TRUNCATE users")
        return [_state(row) for row in rows]

    def outcomes(
        self, batches: list[list[State]], way: Callable[..., Awaitable[list[Outcome]]]
    ) -> tuple[list[list[Outcome]], list[State]]:
        """Apply batches in a way; return the outcomes and the states, and empty the table."""

        async def applied() -> list[list[Outcome]]:
            return [await way(self._engine, *batch) for batch in batches]

        return self._runner.run(applied()), self.states()

    def close(self) -> None:
        self._runner.run(self._engine.dispose())
        self._runner.close()


@pytest.fixture
def converging(blog_url: str) -> Any:
    """Return a database and an event loop that last for all examples."""
    place = Converging(blog_url)
    yield place
    place.close()


def _state(row: Any) -> State:
    if row.deleted_at:
        return a_tombstone(row.id, row.version)
    values = {name: getattr(row, name) for name in UserState.model_fields}
    return UserState(**values | {"roles": tuple(row.roles)})


async def test_every_field_is_stored_unchanged(blog_engine: AsyncEngine) -> None:
    state = a_state(
        version=2**53 - 1,
        email="Ř" * 300 + "@example.org",
        email_verified=True,
        status="disabled",
        tokens_valid_after=NOON,
        created_at=NOON.replace(microsecond=1),
        updated_at=NOON.replace(microsecond=999_999),
    )

    await apply_events(blog_engine, state)

    assert _state((await replica_of(blog_engine))[state.id]) == state


async def test_a_tombstone_contains_nothing_personal(blog_engine: AsyncEngine) -> None:
    """It has id, version, time of deletion, and the mark to erase the user's content."""
    state = a_state(roles=("admin",), tokens_valid_after=NOON)
    await apply_events(blog_engine, state)
    await apply_events(blog_engine, a_tombstone(state.id, 2))
    [row] = await fetch(blog_engine, "SELECT * FROM users")
    left = {name: value for name, value in row._mapping.items() if value not in (None, [], False)}
    assert left.keys() == {"id", "version", "status", "deleted_at", "applied_at", "sweep"}
    assert (row.version, row.status, row.deleted_at) == (2, "deleted", NOON)


async def test_two_users_who_swap_email_addresses_may_arrive_in_either_order(
    blog_engine: AsyncEngine,
) -> None:
    """Only the id is unique in a replica."""
    one, other = a_state(email="one@example.org"), a_state(email="other@example.org")
    swapped = [a_state(one.id, 2, email=other.email), a_state(other.id, 2, email=one.email)]
    back = [a_state(other.id, 3, email=other.email), a_state(one.id, 3, email=one.email)]
    for states in ([one, other], swapped, back):
        for state in states:
            await apply_events(blog_engine, state)
        found = {row.id: row.email for row in (await replica_of(blog_engine)).values()}
        assert found == {state.id: state.email for state in states}


async def test_a_deletion_that_overtakes_the_sign_up_is_final(blog_engine: AsyncEngine) -> None:
    user_id = uuid4()
    first = await apply_events(blog_engine, a_tombstone(user_id, 2))
    then = await apply_events(blog_engine, a_state(user_id, 1), a_state(user_id, 9))
    assert first == [Outcome.APPLIED]
    assert then == [Outcome.TOMBSTONED, Outcome.TOMBSTONED]
    row = (await replica_of(blog_engine))[user_id]
    assert (row.status, row.version, row.email) == ("deleted", 2, None)


async def test_roles_are_stored_unchanged(blog_engine: AsyncEngine) -> None:
    odd = [
        '"',
        '""',
        "\\",
        '\\"',
        "\\N",
        ",",
        "{",
        "}",
        "{}",
        "null",
        " ",
        "\t",
        "管理者",
        "\u202e",
    ]
    many = tuple(f"role {number}" for number in range(32))
    roles = [(), many, ("x" * 64,), tuple(odd), *((each, each) for each in (*ODD_TEXTS, *odd))]
    states = [a_state(roles=each) for each in roles]
    await apply_events(blog_engine, *states)
    rows = await replica_of(blog_engine)
    assert [tuple(rows[state.id].roles) for state in states] == roles


async def test_a_provisional_row_has_an_id_and_never_overwrites(blog_engine: AsyncEngine) -> None:
    """A user whose event has not arrived has version 0."""
    user_id = uuid4()
    present: list[State] = [a_state(version=5), a_tombstone(version=5)]
    await apply_events(blog_engine, *present)
    before = await replica_of(blog_engine)
    for each in (user_id, *(state.id for state in present)):
        await committed(blog_engine, USERS.provide, each)
    after = await replica_of(blog_engine)
    row = after.pop(user_id)
    assert (row.version, row.status, row.email, row.roles) == (0, "provisional", None, [])
    assert after == before


async def test_every_event_replaces_a_provisional_row(blog_engine: AsyncEngine) -> None:
    events: list[State] = [a_state(version=1), a_tombstone(version=1)]
    for event in events:
        await committed(blog_engine, USERS.provide, event.id)
    assert await apply_events(blog_engine, *events) == [Outcome.APPLIED] * 2
    rows = await replica_of(blog_engine)
    assert [rows[event.id].status for event in events] == ["active", "deleted"]
    assert {row.version for row in rows.values()} == {1}


async def test_a_provisional_row_waits_for_an_event_being_applied(blog_engine: AsyncEngine) -> None:
    events: list[State] = [a_state(version=3), a_tombstone(version=3)]
    async with blog_engine.connect() as applying:
        for event in events:
            await apply(USERS, applying, [an_event(event)])
            providing = asyncio.create_task(committed(blog_engine, USERS.provide, event.id))
            await eventually(lambda: lock_waits(blog_engine))
            assert not providing.done()
            await applying.commit()
            await providing
    assert {row.version for row in (await replica_of(blog_engine)).values()} == {3}


async def test_fifty_concurrent_first_requests_all_succeed(people: People) -> None:
    """A page sends many requests right after sign-up; they create one row."""
    user_id = uuid4()
    responses = await asyncio.gather(*(people.ask(user_id, "GET", "/v1/me") for _ in range(50)))
    assert {response.status_code for response in responses} == {200}
    assert {response.json()["status"] for response in responses} == {"provisional"}
    assert list(await replica_of(people.engine)) == [user_id]
