"""Wait for a condition instead of sleeping. The only place in the tests that sleeps."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    look: Callable[[], Awaitable[T]], *, within: float = 20.0, every: float = 0.01
) -> T: ...
@overload
async def eventually(look: Callable[[], T], *, within: float = 20.0, every: float = 0.01) -> T: ...
async def eventually(
    look: Callable[[], T | Awaitable[T]], *, within: float = 20.0, every: float = 0.01
) -> T:
    """Call ``look`` until what it returns is true, and return that.

    An AssertionError inside ``look`` counts as "not yet"; the last one is raised when the time
    (seconds) is over.
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
            raise problem or AssertionError(f"not within {within} s; the last look saw {found!r}")
        await asyncio.sleep(every)
