"""Wait for a condition instead of sleeping for a fixed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""Only a failing test waits so long; on a busy machine a good one may need half of it."""


@overload
async def eventually(
    look: Callable[[], Awaitable[T]], *, within: float = PATIENCE_SECONDS, every: float = 0.01
) -> T: ...
@overload
async def eventually(
    look: Callable[[], T], *, within: float = PATIENCE_SECONDS, every: float = 0.01
) -> T: ...
async def eventually(
    look: Callable[[], T | Awaitable[T]], *, within: float = PATIENCE_SECONDS, every: float = 0.01
) -> T:
    """Call ``look`` until it returns something true, and return that.

    Retry in the same way when ``look`` raises AssertionError. After ``within`` seconds raise the
    last one. ``every`` is the pause in seconds.
    """
    deadline = time.monotonic() + within
    while True:
        problem: AssertionError | None = None
        found = None
        try:
            found = look()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
        except AssertionError as error:
            problem = error
        if time.monotonic() > deadline:
            raise problem or AssertionError(f"not within {within} s; the last result was {found!r}")
        await asyncio.sleep(every)
