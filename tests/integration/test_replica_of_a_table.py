"""A replica in a service's own table, with only some of the fields."""

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events import UserEvent
from contracts.sync.merge import Outcome, State
from replica.table import Replica
from tests.support.builders import a_state, a_tombstone, an_event

metadata = sa.MetaData()
readers = sa.Table(
    "Readers' table",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("deleted_at", sa.DateTime(timezone=True)),
    sa.Column("note", sa.Text),
    sa.Column("changes", sa.BigInteger, nullable=False),
)


@pytest.fixture
async def engine(blog_engine: AsyncEngine) -> AsyncEngine:
    async with blog_engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return blog_engine


async def apply(engine: AsyncEngine, *states: State) -> list[Outcome]:
    events = [an_event(state) for state in states]
    also = {"changes": "CASE WHEN coming.email IS NULL THEN 0 ELSE 1 END"}
    replica = Replica(readers, service="mailer", also=also)
    async with engine.begin() as connection:
        return await replica.apply(connection, [e for e in events if isinstance(e, UserEvent)])


async def row(engine: AsyncEngine, user_id: UUID) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(sa.select(readers).where(readers.c.id == user_id))).one()


async def test_the_newest_state_wins_in_any_order(engine: AsyncEngine) -> None:
    """Late, duplicate and early events, in one batch or several, leave the newest fields."""
    old, new = a_state(version=1), a_state(version=3)
    newer = a_state(old.id, version=2, email="newer@example.org")
    newest = a_state(new.id, version=4, email='"4\\"@example.org')

    first = await apply(engine, newer, old, new, newer)
    second = await apply(engine, old, newer, a_state(new.id, version=4, email='"4\\"@example.org'))

    assert [str(outcome) for outcome in first] == ["applied", "stale", "applied", "unchanged"]
    assert [str(outcome) for outcome in second] == ["stale", "unchanged", "applied"]
    assert (await row(engine, old.id)).email == "newer@example.org"
    assert (await row(engine, new.id)).email == newest.email
    assert await apply(engine) == []


async def test_a_tombstone_clears_the_row_and_is_final(engine: AsyncEngine) -> None:
    """It leaves nothing personal, and no later version restores the user."""
    state = a_state(version=1)
    await apply(engine, state)
    outcomes = await apply(engine, a_tombstone(state.id, version=2), a_state(state.id, version=9))
    left = await row(engine, state.id)
    assert outcomes == [Outcome.APPLIED, Outcome.TOMBSTONED]
    assert (left.version, left.email, left.deleted_at is None) == (2, None, False)
    assert await apply(engine, state) == [Outcome.TOMBSTONED]


async def test_a_services_own_columns_are_preserved(engine: AsyncEngine) -> None:
    """Only the columns named in ``also`` are written, with every state."""
    state = a_state(version=1)
    await apply(engine, state)
    async with engine.begin() as connection:
        await connection.execute(sa.update(readers).values(note="mine"))

    await apply(engine, a_state(state.id, version=2))
    living = await row(engine, state.id)
    await apply(engine, a_tombstone(state.id, version=3))
    dead = await row(engine, state.id)

    assert (living.version, living.note, living.changes) == (2, "mine", 1)
    assert (dead.version, dead.note, dead.changes) == (3, "mine", 0)
