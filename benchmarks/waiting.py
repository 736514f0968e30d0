"""Wait until something is true, with a time limit."""

import asyncio
from collections.abc import Awaitable, Callable


class TooSlow(Exception):
    """A condition did not become true in time; the message names it."""


async def until(what: str, holds: Callable[[], Awaitable[bool]], *, seconds_max: float) -> None:
    """Check every 50 ms until ``holds``.

    Raises:
        TooSlow: it does not hold after ``seconds_max``.
    """
    try:
        async with asyncio.timeout(seconds_max):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TooSlow(f"{what}: not within {seconds_max:g} s") from None
