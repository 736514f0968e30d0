"""End tasks reliably, and run several things of which one failure ends all.

Guarantees: no task outlives a function of this module. One call of ``cancel`` is not enough:
Python 3.11's ``asyncio.wait_for``, which the client libraries use, loses a cancellation that meets
a result, and the task continues.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

CANCEL_AGAIN_SECONDS: Final = 2.0
"""Longer than closing connections, or giving up a statement, takes."""

R = TypeVar("R")


async def end_tasks(*tasks: asyncio.Future[Any]) -> None:
    """Cancel ``tasks`` until all have ended; their exceptions are left to the caller."""
    while unfinished := [task for task in tasks if not task.done()]:
        for task in unfinished:
            task.cancel()
        await asyncio.wait(unfinished, timeout=CANCEL_AGAIN_SECONDS)


async def all_of(*work: Coroutine[Any, Any, R]) -> list[R]:
    """Run all of ``work`` concurrently and return the results; the first error ends the rest.

    The error is raised as it is, not in a group, because callers catch it by its class.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end_tasks(*tasks)
