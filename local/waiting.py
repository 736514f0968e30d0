"""Wait for a condition with a deadline, or for a coroutine from synchronous code."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_PAUSE_SECONDS = 0.1  # short compared with a server's start, long compared with one check


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Wait until the condition holds or the time is up; return whether it held."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


def result_of(coroutine: Coroutine[object, object, Result]) -> Result:
    """Run a coroutine to its end, even if the caller runs inside an event loop.

    It gets its own thread and loop, because tests call the synchronous functions of this package
    from asynchronous ones.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(coroutine)).result()
