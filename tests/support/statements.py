"""Observe the statements that reach a database, and let tables refuse them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.inbox import execute


@contextmanager
def statements(having: str = "") -> Iterator[list[str]]:
    """Record the statements with that text that are executed inside the block, on any engine."""
    executed: list[str] = []
    fetch = asyncpg.Connection.fetch

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if having in statement:
            executed.append(statement)

    loop = asyncio.get_running_loop()

    async def fetch_noting(self: Any, statement: str, *values: Any, **options: Any) -> Any:
        if asyncio.get_running_loop() is loop:  # not that of a thread that makes databases
            note(None, None, statement)
        return await fetch(self, statement, *values, **options)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:  # for what passes SQLAlchemy
            patch.setattr(asyncpg.Connection, "fetch", fetch_noting)
            yield executed
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@asynccontextmanager
async def refusing(engine: AsyncEngine, table: str) -> AsyncIterator[None]:
    """Let a table refuse all rows that are inserted inside the block."""
    await execute(
        engine,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE integrity_constraint_violation USING MESSAGE = 'refused for a test'; END $$",
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()",
    )
    yield
    await execute(engine, f"DROP TRIGGER refuse ON {table}", "DROP FUNCTION refuse")
