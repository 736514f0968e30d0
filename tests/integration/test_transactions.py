"""Transactions past SQLAlchemy: all or nothing, and no session is left in one."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.database.alone import fetch_alone
from service_kit.database.statements import Statement
from service_kit.database.transactions import transaction
from tests.support.eventually import eventually
from tests.support.inbox import execute

INSERT = "INSERT INTO notes VALUES ($1)"
OPEN = (
    "SELECT count(*) AS sessions FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_type = 'client backend'"
)


@pytest.fixture
async def engine(auth_engine: AsyncEngine) -> AsyncEngine:
    await execute(auth_engine, "CREATE TABLE notes (number integer PRIMARY KEY)")
    return auth_engine


async def numbers(engine: AsyncEngine) -> list[int]:
    return [row["number"] for row in await fetch_alone(engine, "SELECT number FROM notes")]


async def insert_all(engine: AsyncEngine, *new: int) -> None:
    async with transaction(engine) as begun:
        for number in new:
            await begun.fetch(INSERT, number)
        if 0 in new:
            raise LookupError


async def test_a_transaction_is_committed_or_changes_nothing(engine: AsyncEngine) -> None:
    await insert_all(engine, 1, 2)
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert_all(engine, 3, 1)
    with pytest.raises(LookupError):
        await insert_all(engine, 4, 0)

    assert await numbers(engine) == [1, 2]


async def test_a_cancelled_transaction_ends(engine: AsyncEngine) -> None:
    """Its session was at work: the pool gives it to nobody, and its locks are free."""

    async def sleep() -> None:
        async with transaction(engine) as begun:
            await begun.fetch(INSERT, 1)
            await begun.fetch("SELECT pg_sleep(60)")

    async def is_open(sessions: int) -> bool:
        [found] = await fetch_alone(engine, OPEN)
        return bool(found["sessions"] == sessions)

    sleeping = asyncio.create_task(sleep())
    await eventually(lambda: is_open(1))
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    await eventually(lambda: is_open(0))
    assert await numbers(engine) == []


async def test_a_statement_runs_on_either_kind_of_connection(engine: AsyncEngine) -> None:
    insert = Statement("INSERT INTO notes VALUES (:number)")
    read = Statement(select(text("number AS found")).select_from(text("notes")))
    async with engine.begin() as connection:
        await insert.on(connection, {"number": 1})
        assert [row["found"] for row in await read.on(connection)] == [1]
        await connection.rollback()
    async with transaction(engine) as begun:
        await insert.on(begun, {"number": 2})
        assert [row["found"] for row in await read.on(begun)] == [2]
    await insert.alone(engine, {"number": 3})
    assert [row["found"] for row in await read.alone(engine)] == [2, 3]
    with pytest.raises(KeyError):
        await insert.alone(engine)
