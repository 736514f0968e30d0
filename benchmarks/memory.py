"""Measure the memory of processes: the resident set, a few times a second."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from statistics import median
from typing import Final

import psutil

LOOK_SECONDS: Final = 0.1


class Memory:
    """Samples in bytes, by the names given to the processes."""

    def __init__(self) -> None:
        self._seen: dict[str, list[int]] = defaultdict(list)

    @asynccontextmanager
    async def of(self, processes: Mapping[str, psutil.Process]) -> AsyncIterator[None]:
        """Sample ``processes`` inside the block; skip processes that have ended."""
        watching = asyncio.create_task(self._watch(processes))
        try:
            yield
        finally:
            watching.cancel()

    def peak(self, name: str) -> int:
        """Return the largest sample."""
        return max(self._seen[name])

    def growth(self, name: str) -> float:
        """Return the growth from the second tenth of the samples to the last, by medians."""
        seen = self._seen[name]
        tenth = max(1, len(seen) // 10)
        return median(seen[-tenth:]) - median(seen[tenth : 2 * tenth] or seen)

    async def _watch(self, processes: Mapping[str, psutil.Process]) -> None:
        while True:
            for name, process in processes.items():
                with suppress(psutil.NoSuchProcess):
                    self._seen[name].append(process.memory_info().rss)
            await asyncio.sleep(LOOK_SECONDS)
