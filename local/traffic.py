"""Simulated users of both services: they sign up, change their address, and leave.

The traffic is HTTP, like that of a front-end: a token from one service is used at the other right
away. It counts what happened, and unexpected responses.
"""

import asyncio
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final
from uuid import uuid4

import httpx

PASSWORD: Final = secrets.token_urlsafe(18)  # of simulated users only
ADDRESSES: Final = "person-%@example.org"
"""The addresses of simulated users, as a pattern of SQL."""

_CHANGES: Final = 0.5  # every second user changes their address,
_LEAVES: Final = 0.3  # and nearly every third deletes the account
_GONE_PATIENCE_SECONDS: Final = 60.0  # longer than the consumer is down


@dataclass
class Traffic:
    """A number of ``people`` at once, and what they did so far."""

    auth_url: str
    blog_url: str
    people: int = 4
    counts: Counter[str] = field(default_factory=Counter)
    refused_after_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    """From a deletion's response to the blog's first rejection of the token, the last few times."""
    _going: bool = True
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def run(self) -> None:
        """Make traffic until ``stop``, then wait for open deletions."""
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(base_url=self.auth_url, trust_env=False, timeout=30) as auth,
            httpx.AsyncClient(
                base_url=self.blog_url, trust_env=False, timeout=30, limits=limits
            ) as blog,
            asyncio.TaskGroup() as leaving,
        ):
            await asyncio.gather(
                *(self._person_after_person(auth, blog, leaving) for _ in range(self.people))
            )

    def stop(self) -> None:
        """Stop after the current action of each user."""
        self._going = False

    async def _person_after_person(
        self, auth: httpx.AsyncClient, blog: httpx.AsyncClient, leaving: asyncio.TaskGroup
    ) -> None:
        while self._going:
            with self._surprised_by_silence():
                token = await self._sign_up(auth, blog)
                if token and random.random() < _CHANGES:  # noqa: S311 - nothing to guess here
                    await self._change(auth, token)
                if token and random.random() < _LEAVES:  # noqa: S311
                    await self._leave(auth, token)
                    leaving.create_task(self._see_refused(blog, token, time.monotonic()))

    async def _sign_up(self, auth: httpx.AsyncClient, blog: httpx.AsyncClient) -> str | None:
        response = await auth.post(
            "/v1/signup", json={"email": self._address(), "password": PASSWORD}
        )
        if not self._expected(response, 201, "sign-ups"):
            return None
        token: str = response.json()["access_token"]
        first = await blog.get("/v1/me", headers=_bearer(token))
        self._expected(first, 200, "first requests served at once")
        return token

    async def _change(self, auth: httpx.AsyncClient, token: str) -> None:
        body = {"email": self._address(), "password": PASSWORD}
        response = await auth.patch("/v1/me", json=body, headers=_bearer(token))
        self._expected(response, 200, "address changes")

    async def _leave(self, auth: httpx.AsyncClient, token: str) -> None:
        response = await auth.request(
            "DELETE", "/v1/me", json={"password": PASSWORD}, headers=_bearer(token)
        )
        self._expected(response, 204, "deletions")

    async def _see_refused(self, blog: httpx.AsyncClient, token: str, since: float) -> None:
        """Use the token of a deleted account until the blog rejects it."""
        while time.monotonic() < since + _GONE_PATIENCE_SECONDS:
            response = await blog.get("/v1/me", headers=_bearer(token))
            if response.status_code == httpx.codes.UNAUTHORIZED:
                self.refused_after_seconds.append(time.monotonic() - since)
                return
            await asyncio.sleep(0.005 if time.monotonic() < since + 0.1 else 0.25)
        self.counts["surprises"] += 1

    @contextmanager
    def _surprised_by_silence(self) -> Iterator[None]:
        """Count a request without a response as a surprise, and continue."""
        try:
            yield
        except httpx.HTTPError:
            self.counts["surprises"] += 1

    def _expected(self, response: httpx.Response, status: int, what: str) -> bool:
        is_expected = response.status_code == status
        self.counts[what if is_expected else "surprises"] += 1
        return is_expected

    def _address(self) -> str:
        return ADDRESSES.replace("%", f"{next(self._numbers)}-{uuid4().hex[:8]}")


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
