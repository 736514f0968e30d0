"""Use an engine in a command, which has no event loop of its own yet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

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
