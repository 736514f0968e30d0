"""Repeat a round of work against a database until cancelled, also after failures.

Guarantees: ``repeat`` ends only when it is cancelled; each failure is logged, and the next round is
tried after the usual pause. So a background task of a process never takes the process down, and
never ends unnoticed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Never

import structlog

from service_kit.database.away import DATABASE_AWAY

log = structlog.get_logger()


async def repeat(
    name: str, work: Callable[[], Awaitable[float | None]], *, every_seconds: float
) -> Never:
    """Run ``work`` again and again, a round about every ``every_seconds``.

    Parameters:
        name: the noun of the log events ``NAME.database_away`` and ``NAME.unexpected``.
        work: one round; it returns the pause before the next one in seconds, or None for the usual.
        every_seconds: from the start of a round to the start of the next.
    """
    while True:
        began = time.monotonic()
        pause = None
        try:
            pause = await work()
        except DATABASE_AWAY as error:
            log.warning(f"{name}.database_away", error=type(error).__name__)
        except Exception as error:
            log.error(f"{name}.unexpected", exc_info=error)
        if pause is None:
            pause = max(0.0, every_seconds - (time.monotonic() - began))
        await asyncio.sleep(pause)
