"""Watch how much memory processes take: the resident set, a few times a second."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from statistics import median
from typing import Final

import psutil

LOOK_SECONDS: Final = 0.1


class Memory:
    """What was seen, by the names that the processes were given; in bytes."""

    def __init__(self) -> None:
        self._seen: dict[str, list[int]] = defaultdict(list)

    @asynccontextmanager
    async def of(self, processes: Mapping[str, psutil.Process]) -> AsyncIterator[None]:
        """Watch ``processes`` inside the block; who has ended is passed over."""
        watching = asyncio.create_task(self._watch(processes))
        try:
            yield
        finally:
            watching.cancel()

    def peak(self, name: str) -> int:
        """The most it ever took."""
        return max(self._seen[name])

    def growth(self, name: str) -> float:
        """From the median of the second tenth of what was seen to that of the last."""
        seen = self._seen[name]
        tenth = max(1, len(seen) // 10)
        return median(seen[-tenth:]) - median(seen[tenth : 2 * tenth] or seen)

    async def _watch(self, processes: Mapping[str, psutil.Process]) -> None:
        while True:
            for name, process in processes.items():
                with suppress(psutil.NoSuchProcess):
                    self._seen[name].append(process.memory_info().rss)
            await asyncio.sleep(LOOK_SECONDS)
