"""Use an engine in a command, before there is an event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.database.away import DATABASE_AWAY

R = TypeVar("R")


def run_with(connect: Callable[[], AsyncEngine], work: Callable[[AsyncEngine], Awaitable[R]]) -> R:
    """Run ``work`` with an engine, in an event loop that ends with it; its result."""

    async def run() -> R:
        engine = connect()
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def demand_suitable(connect: Callable[[], AsyncEngine]) -> None:
    """Refuse to start on a database that cannot be used; one that is away is waited for later.

    Raises:
        UnsuitableDatabase: with the remedy.
    """

    async def look(engine: AsyncEngine) -> None:
        with suppress(*DATABASE_AWAY):
            async with engine.connect():
                pass

    run_with(connect, look)
