"""Judge new passwords and hash them with argon2id, off the event loop, a bounded number at a time.

Guarantees: the event loop is never blocked. At most one task runs on each thread, and at most
``waiting_max`` wait; beyond that ``HashingBusy`` is raised at once. A task keeps its place until
it ends, even if its request has gone. A check without a stored hash takes as long as one with it,
unless that was imported and its user has not signed in since (``foreign_hashes``). No stored hash
is checked for more than an imported one may take; one that takes more memory than ours waits until
no other such check runs.

A password is normalised (NFKC), because keyboards type the same text in several ways: NIST SP
800-63B-4 3.1.1.2 requires it, although ASVS 6.2.8 would take the bytes as they are. It is never
truncated, trimmed or folded to one case.
"""

import asyncio
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import BoundedSemaphore, Lock
from typing import Final, ParamSpec, TypeVar

import structlog
from argon2 import PasswordHasher, Type
from argon2.exceptions import VerificationError

from auth_service import lenient_base64
from auth_service.users.foreign_hashes import read_argon2, read_hash
from auth_service.users.huge_pages import prefer_huge_pages
from auth_service.users.password_policy import require_strong_password

# OWASP's first choice: 19 MiB, two passes, one lane.
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1

MEMORY_MAX_IN_PARALLEL: Final = MEMORY_KIB * 1024
"""In bytes. A thread is counted with as much as a hash of ours takes; what takes more is
checked alone, so all threads together take no more than one such check beside."""

_OWN: Final = "$argon2"
"""How the hashes begin that this service makes."""

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger()


class HashingBusy(Exception):
    """Too many passwords wait to be judged or hashed."""


class Passwords:
    """Judges, hashes and checks passwords on a few threads of its own."""

    def __init__(
        self, *, threads: int, waiting_max: int, firebase_signer_key: bytes | None = None
    ) -> None:
        """``firebase_signer_key``: of the project whose users were imported."""
        self._hasher = PasswordHasher(PASSES, MEMORY_KIB, LANES, type=Type.ID)
        self._pool = ThreadPoolExecutor(
            threads, "argon2", initializer=prefer_huge_pages, initargs=(MEMORY_KIB * 1024,)
        )
        self._places = BoundedSemaphore(threads + waiting_max)
        self._decoy = self._hasher.hash("the password of nobody")
        self._firebase_signer_key = firebase_signer_key
        self._large_check = Lock()

    async def require_strong(self, password: str, *, email: str, length_min: int) -> None:
        """Accept or refuse a new password, as ``password_policy`` does.

        Raises:
            WeakPassword: it is too easy to guess.
            HashingBusy: too many wait.
        """
        await self._in_thread(require_strong_password, password, email=email, length_min=length_min)

    async def hash_strong(self, password: str, *, email: str, length_min: int) -> str:
        """Judge a new password as ``require_strong`` does, and hash it, in one task.

        Raises:
            WeakPassword: it is too easy to guess.
            HashingBusy: too many wait.
        """
        return await self._in_thread(self._hash_strong, password, email, length_min)

    async def hash(self, password: str) -> str:
        """The argon2id hash of ``password`` in PHC form; raises ``HashingBusy``."""
        return await self._in_thread(self._hash, password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether ``password`` matches ``password_hash``; None takes as long and never matches.

        Raises:
            HashingBusy: too many wait.
        """
        matches = await self._in_thread(self._check, password_hash or self._decoy, password)
        return matches and password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether ``password_hash`` was made elsewhere, or with other parameters than today's."""
        return not password_hash.startswith(_OWN) or self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Let running tasks end, and start no others."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _hash_strong(self, password: str, email: str, length_min: int) -> str:
        require_strong_password(password, email=email, length_min=length_min)
        return self._hash(password)

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_normalised(password))

    def _check(self, password_hash: str, password: str) -> bool:
        is_own = password_hash.startswith(_OWN)
        try:
            stored = read_argon2(password_hash) if is_own else read_hash(password_hash)
            with self._large_check if stored.memory > MEMORY_MAX_IN_PARALLEL else nullcontext():
                if is_own:
                    return self._hasher.verify(password_hash, _normalised(password))
                return stored.matches(password.encode(), signer_key=self._firebase_signer_key)
        except VerificationError:
            return False
        except ValueError as error:  # such as a parameter that OpenSSL does not take
            log.error("password.hash_not_checked", error=type(error).__name__)
            return False

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if not self._places.acquire(blocking=False):
            raise HashingBusy
        running = self._pool.submit(function, *args, **kwargs)
        # Not when the caller gives up: the thread is still busy, and they could start another task.
        running.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(running)


def unusable_hash() -> str:
    """A hash of no known password, for a user without one; it looks and costs like any other."""
    salt, digest = (lenient_base64.encode(os.urandom(n)) for n in (_SALT_BYTES, _HASH_BYTES))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${digest}"


def _normalised(password: str) -> str:
    return unicodedata.normalize("NFKC", password)
