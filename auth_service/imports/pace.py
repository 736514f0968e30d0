"""Let an import wait, so that other users' events do not wait for it.

The relay publishes events in the order of recording, and a consumer applies them in that order. So
an event is delayed by what was recorded before it. An import records little at a time, and no more
while earlier events wait at the relay or at a consumer.
"""

import asyncio
import time
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.queues import read_queues
from service_kit.process.progress import Progress

UNPUBLISHED_MAX: Final = 200
"""Events that may wait at the relay, which publishes as many in some 10 ms."""

QUEUED_MAX: Final = 5_000
"""Messages that may wait in a watched queue; a consumer applies as many in half a second."""

QUEUE_SEEN_SECONDS: Final = 30.0
"""An older observation of a queue is not one of the present: no relay watches it."""

_LOOK_SECONDS: Final = 0.02
"""Between two looks while events wait; the read of an index of some hundred entries."""

_SAY_SECONDS: Final = 5.0
"""A relay at work has published what waits long before."""

# Without the index of what waits, the whole log would be read.
_BY_INDEX: Final = text("SELECT set_config('enable_seqscan', 'off', true)")

_WAITING: Final = text(
    "SELECT count(*) FROM (SELECT FROM outbox_events"
    " WHERE published_at IS NULL AND set_aside = 0 LIMIT :most) AS waiting"
)


class Pace:
    """Waits between the transactions of an import."""

    def __init__(self, engine: AsyncEngine, *, per_second: int) -> None:
        """``per_second``: how many users to import at most."""
        self._engine = engine
        self._per_second = per_second
        self._next_at = time.monotonic()

    async def wait(self, recorded: int, progress: Progress) -> None:
        """Wait until more may be recorded.

        Parameters:
            recorded: the events of the last transaction.
            progress: to end before something is said.
        """
        self._next_at = max(self._next_at + recorded / self._per_second, time.monotonic())
        await asyncio.sleep(self._next_at - time.monotonic())
        began, is_said = time.monotonic(), False
        async with self._engine.connect() as connection:
            while (why := await _why_not(connection)) is not None:
                await connection.rollback()  # no transaction is open while it sleeps
                if not is_said and time.monotonic() > began + _SAY_SECONDS:
                    progress.say(f"waiting: {why}")
                    is_said = True
                await asyncio.sleep(_LOOK_SECONDS)


async def _why_not(connection: AsyncConnection) -> str | None:
    """Why nothing may be recorded now; None if it may."""
    most = UNPUBLISHED_MAX + 1
    await connection.execute(_BY_INDEX)
    if await connection.scalar(_WAITING, {"most": most}) == most:
        return "the relay has not published the events so far (`auth-service status`)"
    for queue in await read_queues(connection):
        if queue.age_seconds < QUEUE_SEEN_SECONDS and (queue.messages or 0) > QUEUED_MAX:
            return f"the consumer of {queue.name} has not applied the events so far"
    return None
