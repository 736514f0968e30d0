"""Wait for something to become true, and give up in the end."""

import asyncio
from collections.abc import Awaitable, Callable


class TooSlow(Exception):
    """What was waited for did not happen in time; the message says what it was."""


async def until(what: str, holds: Callable[[], Awaitable[bool]], *, seconds_max: float) -> None:
    """Look every 50 ms until ``holds``.

    Raises:
        TooSlow: it still does not after ``seconds_max``.
    """
    try:
        async with asyncio.timeout(seconds_max):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TooSlow(f"{what}: not within {seconds_max:g} s") from None
