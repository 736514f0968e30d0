"""Observe the statements that reach a database, and let tables refuse them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.inbox import execute


@contextmanager
def statements(having: str = "") -> Iterator[list[str]]:
    """Record the statements with that text that any engine executes inside the block."""
    executed: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if having in statement:
            executed.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
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
