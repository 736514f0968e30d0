"""Waiting: for a condition with a deadline, and for a coroutine from ordinary code."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_PAUSE_SECONDS = 0.1  # short against what is waited for (a server's start), long against one look


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Look until the condition holds or the time is up; returns whether it held."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


def result_of(coroutine: Coroutine[object, object, Result]) -> Result:
    """Run a coroutine to its end, whether or not the caller already runs inside an event loop.

    It gets a thread and a loop of its own, because tests call the synchronous functions of this
    package from asynchronous ones.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(coroutine)).result()
