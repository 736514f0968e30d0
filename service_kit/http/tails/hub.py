"""Read for all live tails of a process at once, and hand each what was read.

Guarantees: while no tail is open nothing is read, and with any number open one statement or two
every half a second. Neither writers nor the relay notice: only committed rows are read, by indexes,
and no lock is taken. The number of tails is limited, of each user too, and so is what waits for a
client that reads slowly.

Not here: what is read (each service's reader), how it is sent (``stream``).
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Gauge

from service_kit.http import problems
from service_kit.http.problems import Problem
from service_kit.http.tails.settings import TailSettings
from service_kit.process.tail import LOOK_EVERY_SECONDS, Batch, Line, Reader, Wanted
from service_kit.process.tasks import end_tasks

log = structlog.get_logger()

LINES_MAX: Final = 1_000
"""Lines that wait for a client: some 300 KB. More than a few seconds of what a tail shows; what
comes while as many wait is left out."""

RETRY_SECONDS: Final = "10"
"""When to ask again for a place; most tails are closed by hand."""

open_tails = Gauge("usersync_open_tails", "Live tails that this process sends")


StartReader = Callable[[str | None], Awaitable[Reader]]
"""Makes a reader that begins after a mark, or now; raises the driver's errors."""


class Tail:
    """What one client gets: lines that it has not taken yet, and how many had no place."""

    def __init__(self, wanted: Wanted) -> None:
        self.is_broken = False
        """Whether the hub cannot read any more."""
        self._wanted = wanted
        self._lines: list[Line] = []
        self._left_out = 0
        self._mark = ""
        self._more = asyncio.Event()

    def put(self, batch: Batch) -> None:
        """Add what is wanted of a batch, as far as there is room."""
        lines = self._wanted.of(batch.lines)
        taken = lines[: LINES_MAX - len(self._lines)]
        self._lines += taken
        self._left_out += batch.left_out + len(lines) - len(taken)
        self._mark = batch.mark
        if lines or batch.left_out:
            self._more.set()

    def end(self) -> None:
        """Say that no more will come."""
        self.is_broken = True
        self._more.set()

    async def take(self, seconds: float) -> Batch:
        """Return what waits or comes within ``seconds``; its mark is empty if nothing was read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._more.wait()
        self._more.clear()
        taken = Batch(self._lines, self._mark, self._left_out)
        self._lines, self._left_out = [], 0
        return taken


class Tails:
    """The open tails of a process."""

    def __init__(self, start: StartReader, settings: TailSettings) -> None:
        self.start_reader = start
        self.settings = settings
        self._open: dict[Tail, UUID] = {}
        self._reading: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Read no more; the streams have ended by then."""
        if self._reading is not None:
            await end_tasks(self._reading)

    @contextlib.asynccontextmanager
    async def opened(self, user_id: UUID, wanted: Wanted) -> AsyncIterator[Tail]:
        """Read for a tail of this user inside the block: what happens from its beginning on.

        Raises:
            Problem: 503 ``busy``, there are too many, or too many of this user.
            Exception: the driver's errors.
        """
        settings = self.settings
        of_the_user = Counter(self._open.values())[user_id]
        if len(self._open) >= settings.tails_max or of_the_user >= settings.tails_per_user_max:
            raise Problem(
                problems.BUSY,
                "too many live tails are open; close one",
                headers={"Retry-After": RETRY_SECONDS},
            )
        tail = Tail(wanted)
        self._open[tail] = user_id
        open_tails.set(len(self._open))
        try:
            if self._reading is None:
                reader = await self.start_reader(None)
                self._reading = self._reading or asyncio.create_task(self._read(reader))
            yield tail
        finally:
            del self._open[tail]
            open_tails.set(len(self._open))

    async def _read(self, reader: Reader) -> None:
        """Read while any tail is open."""
        try:
            while self._open:
                batch = await reader.read()
                for tail in self._open:
                    tail.put(batch)
                await asyncio.sleep(LOOK_EVERY_SECONDS)
        except Exception as error:
            log.warning("tail.broken", error=type(error).__name__)
            for tail in self._open:
                tail.end()
        finally:
            self._reading = None
