"""A consumer running inside a test, and what it left in its database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from contracts.events import Data
from contracts.sync.merge import Outcome
from replica.inbox.apply import apply, apply_alone
from replica.inbox.consumer import Consumer, NotConsuming
from replica.settings import ConsumerSettings
from replica.table import Replica
from service_kit.database.away import NotWritable
from tests.support.builders import an_event
from tests.support.eventually import PATIENCE_SECONDS, eventually
from tests.support.source import Source


@asynccontextmanager
async def consuming(
    settings: ConsumerSettings, engine: AsyncEngine, replica: Replica = USERS
) -> AsyncIterator[Consumer]:
    """A consumer that takes messages inside the block, and has drained after it."""
    consumer = Consumer(replica, settings, engine)
    running = asyncio.create_task(consumer.run())
    try:
        await eventually(lambda: running.done() or is_consuming(consumer), within=30)
        yield consumer
    finally:
        consumer.stop()
        async with asyncio.timeout(60):
            await running


@dataclass(frozen=True)
class Inbox:
    """A consumer's settings and database, and the source's end of its broker."""

    settings: ConsumerSettings
    engine: AsyncEngine
    source: Source

    def consuming(self, **changes: Any) -> AbstractAsyncContextManager[Consumer]:
        """Run a consumer inside the block, with changes of its settings."""
        return consuming(self.settings.model_copy(update=changes), self.engine)

    async def declare(self) -> None:
        """Let a consumer declare its queues and stop, so that messages wait in them."""
        async with self.consuming():
            pass

    async def has_applied(self, users: int, within: float = PATIENCE_SECONDS) -> None:
        """Wait until events of this many users are applied."""
        await eventually(lambda: has_applied(self.engine, users), within=within)

    async def has_parked(self, messages: int) -> None:
        """Wait until this many messages are parked."""
        await eventually(lambda: has_parked(self.engine, messages))

    async def assert_nothing_left(self) -> None:
        """Check that no message is parked, and none in the queue of live events."""
        assert await parked(self.engine) == []
        assert await self.source.ready() == 0


async def is_consuming(consumer: Consumer) -> bool:
    """Whether ``consumer`` takes messages now and its database answers, if only to be read."""
    try:
        await consumer.ready()
    except NotWritable:
        return True
    except NotConsuming:
        return False
    return True


async def apply_events(engine: AsyncEngine, *data: Data) -> list[Outcome]:
    """Apply events that carry ``data`` in one transaction, as a consumer does; what each did."""
    events = [an_event(each) for each in data]
    if (outcomes := await apply_alone(USERS, engine, events)) is not None:
        return outcomes
    async with engine.begin() as connection:
        return await apply(USERS, connection, events)


async def fetch(engine: AsyncEngine, query: str, **values: Any) -> list[Row[Any]]:
    async with engine.connect() as connection:
        return list(await connection.execute(text(query), values))


async def execute(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


class OnDatabase:
    """What acts on a database can also read and change it with single statements."""

    engine: AsyncEngine

    async def fetch(self, query: str, **values: Any) -> list[Row[Any]]:
        return await fetch(self.engine, query, **values)

    async def execute(self, *statements: str) -> None:
        await execute(self.engine, *statements)


async def everything(engine: AsyncEngine) -> str:
    """All rows of all tables, as text."""
    tables = await fetch(engine, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [
        row.text
        for (table,) in tables
        for row in await fetch(engine, f'SELECT t::text AS text FROM "{table}" AS t')
    ]
    return "\n".join(rows)


async def replica(engine: AsyncEngine) -> dict[UUID, Row[Any]]:
    return {row.id: row for row in await fetch(engine, "SELECT * FROM users")}


async def parked(engine: AsyncEngine) -> list[Row[Any]]:
    """The parked messages, in the order in which they were first parked."""
    return await fetch(engine, "SELECT * FROM parked_messages ORDER BY id")


async def applied(engine: AsyncEngine) -> int:
    """How many users the replica has an event of."""
    [row] = await fetch(engine, "SELECT count(*) AS users FROM users WHERE version > 0")
    return int(row.users)


async def has_applied(engine: AsyncEngine, users: int) -> bool:
    found = await applied(engine)
    assert found == users, f"{found} of {users} users applied"
    return True


async def has_parked(engine: AsyncEngine, messages: int) -> bool:
    found = len(await parked(engine))
    assert found == messages, f"{found} of {messages} messages parked"
    return True


async def is_at(engine: AsyncEngine, user_id: UUID, version: int) -> bool:
    row = (await replica(engine)).get(user_id)
    assert row is not None, "the replica does not have the user"
    assert row.version == version, f"at {row.version}, not {version}"
    return True


async def refuse_writes(engine: AsyncEngine, sqlstate: str, user_id: UUID | None = None) -> None:
    """Let PostgreSQL refuse every write of users, or of one, with an error of this SQLSTATE.

    The sequence ``tries`` counts how often it was asked, for it is not rolled back.
    """
    condition = f"NEW.id = '{user_id}'" if user_id else "true"
    await execute(
        engine,
        "CREATE SEQUENCE IF NOT EXISTS tries",
        f"""
        CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {condition} THEN
                PERFORM nextval('tries');
                RAISE EXCEPTION 'refused for a test' USING ERRCODE = '{sqlstate}';
            END IF;
            RETURN NEW;
        END $$
        """,
        "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON users"
        " FOR EACH ROW EXECUTE FUNCTION refuse()",
    )


async def slow_down_writes(
    engine: AsyncEngine, seconds: float, user_id: UUID | None = None
) -> None:
    """Let PostgreSQL take so long for every new user's row, or for that of one."""
    condition = f"NEW.id = '{user_id}'" if user_id else "true"
    await execute(
        engine,
        f"""
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {condition} THEN PERFORM pg_sleep({seconds}); END IF;
            RETURN NEW;
        END $$
        """,
        "CREATE TRIGGER slow BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION slow()",
    )


async def accept_writes(engine: AsyncEngine) -> None:
    await execute(engine, "DROP TRIGGER refuse ON users")


async def tries(engine: AsyncEngine) -> int:
    [row] = await fetch(engine, "SELECT last_value, is_called FROM tries")
    return int(row.last_value) if row.is_called else 0
