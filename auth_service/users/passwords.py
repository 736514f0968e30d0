"""Hashing passwords with argon2id, off the event loop, a bounded number at a time.

Guarantees: the loop is never blocked; no more hashes run than there are threads, and no more wait
than the limit, beyond which ``HashingBusy`` answers at once; a check against nobody takes as long
as one against a user.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerifyMismatchError

# OWASP's first choice: 19 MiB, two passes, one lane.
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1

P = ParamSpec("P")
R = TypeVar("R")


class HashingBusy(Exception):
    """Too many passwords wait to be hashed."""


class Passwords:
    """Hashes and checks passwords on a few threads of its own."""

    def __init__(self, *, threads: int, waiting_max: int) -> None:
        self._hasher = PasswordHasher(PASSES, MEMORY_KIB, LANES, type=Type.ID)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._places = threads + waiting_max
        self._nobody = self._hasher.hash("the password of nobody")

    async def hash(self, password: str) -> str:
        """The argon2id hash of ``password`` in PHC form; raises ``HashingBusy``."""
        return await self._off_the_loop(self._hasher.hash, password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether ``password`` is the one behind ``password_hash``; None takes as long.

        Raises:
            HashingBusy: when too many wait.
        """
        matches = await self._off_the_loop(self._check, password_hash or self._nobody, password)
        return matches and password_hash is not None

    def close(self) -> None:
        """Let running hashes end and start no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def _off_the_loop(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._places == 0:
            raise HashingBusy
        self._places -= 1
        try:
            running = self._pool.submit(function, *args, **kwargs)
            return await asyncio.wrap_future(running)
        finally:
            self._places += 1
