"""Run a task of a process inside a test."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from service_kit.process.tasks import end_tasks


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``work``, which must not end inside the block, and cancel it afterwards."""
    running = asyncio.create_task(work)
    try:
        yield
        assert not running.done(), f"it ended: {running}"
    finally:
        await end_tasks(running)
        with suppress(asyncio.CancelledError):
            running.result()
