"""Create databases and virtual hosts in the background before tests need them; remove used ones.

Guarantees: no test gets one that another test had; errors of the background threads are raised.
"""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

log = logging.getLogger(__name__)


class Supply:
    """Resources of one kind, such as databases, identified by their names.

    Parameters:
        make: creates the resource with this number and returns its name.
        remove: removes the resource with this name.
        spare: the number to keep ready after the first request. With 0, each is created and removed
            while the test waits, as it must be on a server that a test may stop.
    """

    def __init__(
        self, make: Callable[[int], str], remove: Callable[[str], None], *, spare: int
    ) -> None:
        self._make = make
        self._remove = remove
        self._spare = spare
        self._begun = 0
        self._ready: deque[Future[str]] = deque()
        self._removals: deque[Future[None]] = deque()
        # Separate threads, so that a test never waits for a removal.
        self._makes = ThreadPoolExecutor(1)
        self._removes = ThreadPoolExecutor(1)

    def take(self) -> str:
        while len(self._ready) <= self._spare:
            self._begun += 1
            self._ready.append(self._makes.submit(self._make, self._begun))
        return self._ready.popleft().result()

    def give_back(self, name: str) -> None:
        """Remove a resource that a test has used."""
        self._removals.append(self._removes.submit(self._remove, name))
        while self._removals and (self._removals[0].done() or not self._spare):
            _finish(self._removals.popleft())

    def close(self) -> None:
        """Remove the spare resources and wait until all removals are done."""
        while self._ready:
            self.give_back(self._ready.popleft().result())
        while self._removals:
            _finish(self._removals.popleft())
        self._makes.shutdown()
        self._removes.shutdown()


def _finish(removal: Future[None]) -> None:
    """Raise the error of a removal, except that a busy server took too long for it.

    The next run removes what is left over; no test sees it.
    """
    try:
        removal.result()
    except TimeoutError:
        log.warning("a removal took too long; the next run repeats it")
