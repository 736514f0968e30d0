"""Use a database in a command, which has no event loop yet.

SQLAlchemy is imported when a command runs, so that help comes at once.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from service_kit.process.errors import OperatorError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from service_kit.database.engines import Database

R = TypeVar("R")


def on_database(settings: "Database", work: "Callable[[AsyncEngine], Awaitable[R]]") -> R:
    """Run ``work`` with an engine, in an event loop that ends with it; return its result.

    Raises:
        OperatorError: the database is away or refuses.
    """
    import asyncio

    from service_kit.database.away import DATABASE_AWAY, describe, is_misuse
    from service_kit.database.engines import pooled

    async def run() -> R:
        engine = pooled(settings)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except BrokenPipeError:
        raise  # of standard output, not of the database
    except DATABASE_AWAY as error:
        if is_misuse(error):
            raise
        raise OperatorError(f"the database cannot be used: {describe(error)}") from error


def require_suitable(settings: "Database") -> None:
    """Refuse to start on a database that cannot be used; one that is away is waited for later.

    Raises:
        UnsuitableDatabase: the database has the wrong encoding; the message names the remedy.
    """
    from service_kit.database.away import DATABASE_AWAY

    async def connect(engine: "AsyncEngine") -> None:
        with suppress(*DATABASE_AWAY):
            async with engine.connect():
                pass

    on_database(settings, connect)
