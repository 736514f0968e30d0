"""Cancel tasks reliably, and run several tasks until one fails.

Guarantees: no task is left running when a function here returns. One call of ``cancel`` is not
enough for that: Python 3.11's ``asyncio.wait_for``, which the client libraries use, loses a
cancellation that coincides with a result, and the task keeps running.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

CANCEL_AGAIN_SECONDS: Final = 2.0
"""Longer than closing connections, or giving up a statement, takes."""

R = TypeVar("R")


async def end_tasks(*tasks: asyncio.Future[Any]) -> None:
    """Cancel ``tasks`` until all have ended, however they do; what they raise is for the caller."""
    while unfinished := [task for task in tasks if not task.done()]:
        for task in unfinished:
            task.cancel()
        await asyncio.wait(unfinished, timeout=CANCEL_AGAIN_SECONDS)


async def all_of(*work: Coroutine[Any, Any, R]) -> list[R]:
    """What all of ``work`` returns, done at once; the first error ends the rest, and is raised.

    As it is, in no group: it is the one that callers know how to meet.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end_tasks(*tasks)
