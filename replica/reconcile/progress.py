"""How far a run has come: told to who started it by the command, and kept for who watches it.

Guarantees: noting costs one small statement a second at most, and never holds the run up; a note
that cannot be written is left out.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from replica.reconcile import runs
from replica.reconcile.model import Phase
from service_kit.database.away import DATABASE_AWAY
from service_kit.process.progress import Progress
from service_kit.process.tasks import end_tasks

NOTE_EVERY_SECONDS: Final = 1.0
"""The console looks as often while a run is made."""

_SAID: Final = {
    Phase.READING: "users read",
    Phase.ARRIVING: "waiting for a heartbeat",
    Phase.COMPARING: "users compared",
}


class RunProgress:
    """The phase of a run, and how many of its users are done; ``is_quiet`` if nobody sits there."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._told: Progress | None = None
        self.phase = Phase.DIGESTS
        self.done = 0
        self.total: int | None = None

    def begin(self, phase: Phase, total: int | None = None) -> None:
        """The next phase begins, with about so many users."""
        self.end()
        self.phase, self.done, self.total = phase, 0, total
        self._told = Progress(_SAID[phase], total, is_quiet=self._is_quiet)

    def advance(self, by: int) -> None:
        """So many more users are done."""
        self.done += by
        if self._told is not None:
            self._told.advance(by)

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._told is not None:
            self._told.end()


@asynccontextmanager
async def persisted(
    engine: AsyncEngine, run_id: UUID, progress: RunProgress
) -> AsyncIterator[None]:
    """Inside the block, write down how far the run has come whenever that has changed."""
    noting = asyncio.create_task(_persist_changes(engine, run_id, progress))
    try:
        yield
    finally:
        await end_tasks(noting)
        progress.end()


async def _persist_changes(engine: AsyncEngine, run_id: UUID, progress: RunProgress) -> None:
    written = None
    while True:
        found = (progress.phase, progress.done, progress.total)
        if found != written:
            with suppress(*DATABASE_AWAY):
                async with engine.begin() as connection:
                    await runs.note(connection, run_id, *found)
                written = found
        await asyncio.sleep(NOTE_EVERY_SECONDS)
