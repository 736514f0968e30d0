"""A replica in a table that a service made for itself: with a few of the fields."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events import UserEvent
from contracts.sync.merge import Outcome, State
from replica.table import Replica
from tests.support.builders import a_state, a_tombstone, an_event

metadata = MetaData()
readers = Table(
    "Readers' table",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("email", Text),
    Column("deleted_at", DateTime(timezone=True)),
    Column("note", Text),
    Column("changes", BigInteger, nullable=False),
)


@pytest.fixture
async def engine(blog_engine: AsyncEngine) -> AsyncEngine:
    """A database with the table."""
    async with blog_engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return blog_engine


async def applied(engine: AsyncEngine, *states: State) -> list[Outcome]:
    """What became of the events that carry ``states``."""
    events = [an_event(state) for state in states]
    replica = Replica(readers, also={"changes": "CASE WHEN coming.email IS NULL THEN 0 ELSE 1 END"})
    async with engine.begin() as connection:
        return await replica.apply(connection, [e for e in events if isinstance(e, UserEvent)])


async def row(engine: AsyncEngine, user_id: UUID) -> Any:
    """The row of a user."""
    async with engine.connect() as connection:
        return (await connection.execute(select(readers).where(readers.c.id == user_id))).one()


async def test_the_newest_state_wins_in_any_order(engine: AsyncEngine) -> None:
    """Late, double and early events of one batch and the next leave the newest one's fields."""
    old, new = a_state(version=1), a_state(version=3)
    newer = a_state(old.id, version=2, email="newer@example.org")
    newest = a_state(new.id, version=4, email='"4\\"@example.org')

    first = await applied(engine, newer, old, new, newer)
    second = await applied(
        engine, old, newer, a_state(new.id, version=4, email='"4\\"@example.org')
    )

    assert [str(outcome) for outcome in first] == ["applied", "stale", "applied", "unchanged"]
    assert [str(outcome) for outcome in second] == ["stale", "unchanged", "applied"]
    assert (await row(engine, old.id)).email == "newer@example.org"
    assert (await row(engine, new.id)).email == newest.email
    assert await applied(engine) == []


async def test_a_tombstone_clears_and_stays(engine: AsyncEngine) -> None:
    """Nothing personal is left, and no later version brings the user back."""
    state = a_state(version=1)

    await applied(engine, state)
    outcomes = await applied(engine, a_tombstone(state.id, version=2), a_state(state.id, version=9))

    left = await row(engine, state.id)
    assert outcomes == [Outcome.APPLIED, Outcome.TOMBSTONED]
    assert (left.version, left.email, left.deleted_at is None) == (2, None, False)
    assert await applied(engine, state) == [Outcome.TOMBSTONED]


async def test_the_services_own_columns_are_its_own(engine: AsyncEngine) -> None:
    """Those that it asked for are written with every state, the others never."""
    state = a_state(version=1)
    await applied(engine, state)
    async with engine.begin() as connection:
        await connection.execute(update(readers).values(note="mine"))

    await applied(engine, a_state(state.id, version=2))
    living = await row(engine, state.id)
    await applied(engine, a_tombstone(state.id, version=3))
    dead = await row(engine, state.id)

    assert (living.version, living.note, living.changes) == (2, "mine", 1)
    assert (dead.version, dead.note, dead.changes) == (3, "mine", 0)


async def test_what_is_rolled_back_was_not_applied(engine: AsyncEngine) -> None:
    """The transaction is the caller's."""
    event = an_event(a_state())
    assert isinstance(event, UserEvent)
    async with engine.connect() as connection:
        await Replica(readers, also={"changes": "0"}).apply(connection, [event])
        await connection.rollback()
        count = await connection.scalar(select(func.count()).select_from(readers))

    assert count == 0
