"""What each test gets one of: made before a test asks for it, and removed after, in the background.

Guarantees: nothing is given twice; a failure to make or to remove one is raised.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Supply:
    """Named things of one kind, such as databases.

    Parameters:
        make: makes the thing with this number, and returns its name.
        remove: removes the thing of this name.
        spare: how many are kept ready once the first was asked for. With none, each is made and
            removed while the test waits, for a server that a test may stop.
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
        # One thread each: a test that waits for its thing does not wait for removals.
        self._makes = ThreadPoolExecutor(1)
        self._removes = ThreadPoolExecutor(1)

    def take(self) -> str:
        """Return the name of a thing that nobody had before."""
        while len(self._ready) <= self._spare:
            self._begun += 1
            self._ready.append(self._makes.submit(self._make, self._begun))
        return self._ready.popleft().result()

    def give_back(self, name: str) -> None:
        """Have a thing removed."""
        self._removals.append(self._removes.submit(self._remove, name))
        while self._removals and (self._removals[0].done() or not self._spare):
            self._removals.popleft().result()

    def close(self) -> None:
        """Remove the spare things, and wait until all removals are done."""
        while self._ready:
            self.give_back(self._ready.popleft().result())
        while self._removals:
            self._removals.popleft().result()
        self._makes.shutdown()
        self._removes.shutdown()
