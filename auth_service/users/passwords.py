"""Judging new passwords and hashing them with argon2id, off the loop, a bounded number at a time.

Guarantees: the loop is never blocked; no more work runs than there are threads, and no more waits
than the limit, beyond which ``HashingBusy`` answers at once; a place is taken until its work is
done, though nobody may wait for it any more; a check against nobody takes as long as one against a
user.

A password is normalised (NFKC), since keyboards write one and the same in several ways: NIST SP
800-63B-4 3.1.1.2 asks for that where ASVS 6.2.8 would take the bytes as they come. Nothing else is
done to it: it is never cut, trimmed or folded to one case.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Final, ParamSpec, TypeVar

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from auth_service.users.password_policy import require_strong_password

# OWASP's first choice: 19 MiB, two passes, one lane.
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1

# A stored hash that asks for more than this was not made by a service like this one, and checking
# it would take the machine's memory or a thread's minute.
MEMORY_KIB_MAX: Final = 1024 * 1024
PASSES_MAX: Final = 20
LANES_MAX: Final = 16

P = ParamSpec("P")
R = TypeVar("R")


class HashingBusy(Exception):
    """Too many passwords wait to be judged or hashed."""


class Passwords:
    """Judges, hashes and checks passwords on a few threads of its own."""

    def __init__(self, *, threads: int, waiting_max: int) -> None:
        self._hasher = PasswordHasher(PASSES, MEMORY_KIB, LANES, type=Type.ID)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._places = BoundedSemaphore(threads + waiting_max)
        self._nobody = self._hasher.hash("the password of nobody")

    async def require_strong(self, password: str, *, email: str, length_min: int) -> None:
        """Accept a new password for the account of ``email``, as ``password_policy`` does.

        Raises:
            WeakPassword: it would be guessed.
            HashingBusy: too many wait.
        """
        await self._off_the_loop(
            require_strong_password, password, email=email, length_min=length_min
        )

    async def hash(self, password: str) -> str:
        """The argon2id hash of ``password`` in PHC form; raises ``HashingBusy``."""
        return await self._off_the_loop(self._hash, password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether ``password`` is the one behind ``password_hash``; None takes as long.

        Raises:
            HashingBusy: when too many wait.
        """
        matches = await self._off_the_loop(self._check, password_hash or self._nobody, password)
        return matches and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether ``password_hash``, which is a hash, was made with other parameters."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Let running hashes end and start no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_normalised(password))

    def _check(self, password_hash: str, password: str) -> bool:
        try:
            return _is_affordable(password_hash) and self._hasher.verify(
                password_hash, _normalised(password)
            )
        except (VerificationError, InvalidHashError):
            return False

    async def _off_the_loop(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if not self._places.acquire(blocking=False):
            raise HashingBusy
        running = self._pool.submit(function, *args, **kwargs)
        # Not when the caller gives up: the thread goes on, and he could have his next one begun.
        running.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(running)


def _is_affordable(password_hash: str) -> bool:
    asked = extract_parameters(password_hash)
    return (
        asked.memory_cost <= MEMORY_KIB_MAX
        and asked.time_cost <= PASSES_MAX
        and asked.parallelism <= LANES_MAX
    )


def _normalised(password: str) -> str:
    return unicodedata.normalize("NFKC", password)
