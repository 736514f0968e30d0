"""Read rows with one statement at a time, past SQLAlchemy.

Guarantees: callers wait in turn for a bounded time; a read whose session ends is tried once more.

Not here: reads inside a transaction, and writes.
"""

import asyncio
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.database.alone import RowLike, fetch_alone
from service_kit.database.engines import ends_session

READS_MAX = 2
"""How often a read is tried whose session ends under it: nothing is changed by trying again."""


class Reader:
    """Runs single statements on an engine's connections, without SQLAlchemy's own work.

    Readers wait in turn. The pool has no such order: under load it serves latecomers first, and the
    last of a crowd waits several times as long as the others.

    Parameters:
        engine: the service's database.
        at_once: how many statements may run at the same time; writers use the other connections.
        wait_seconds: the longest wait for a turn, in seconds.
    """

    def __init__(self, engine: AsyncEngine, *, at_once: int, wait_seconds: float) -> None:
        self._engine = engine
        self._turns = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds

    async def rows(self, statement: str, *values: object) -> Sequence[RowLike]:
        """Return the rows of ``statement``, whose parameters are $1, $2 and so on.

        Raises:
            TimeoutError: the turn did not come in time.
        """
        async with asyncio.timeout(self._wait_seconds):
            await self._turns.acquire()
        try:
            return await self._rows(statement, *values)
        finally:
            self._turns.release()

    async def _rows(self, statement: str, *values: object) -> Sequence[RowLike]:
        tries_left = READS_MAX
        while True:
            tries_left -= 1
            try:
                return await fetch_alone(self._engine, statement, *values)
            except Exception as error:
                is_over = ends_session(error) and not isinstance(error, TimeoutError)
                if not (is_over and tries_left):
                    raise
