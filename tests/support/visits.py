"""Requests of users at a steady rate to both services, each of which must succeed.

New requests do not wait for earlier ones, as people do not wait for each other; but one user makes
one request at a time, so that refresh tokens are used in turn.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.support.auth_api import PASSWORD, bearer
from tests.support.eventually import eventually

IN_PROGRESS_MAX: Final = 60
"""A machine that is too slow for the rate gets fewer requests, not a growing heap of them."""

PER_SECOND: Final = 20
"""What one instance can bear while other tests share its cores. Without any core to spare it
answers health checks late, so that a proxy takes out the only instance that is left."""

SHARES: Final = {"sign up": 8, "sign in": 8, "refresh": 20, "see me": 24, "write": 16, "list": 24}
"""Of a hundred requests; the first two hash a password."""


@dataclass
class Visitor:
    """A user with the latest tokens."""

    email: str
    tokens: dict[str, Any]


@dataclass
class Visits:
    """Makes requests until it is stopped, and counts them.

    Parameters:
        auth: a client of the auth service.
        blog: a client of the blog.
    """

    auth: httpx.AsyncClient
    blog: httpx.AsyncClient
    counts: Counter[str] = field(default_factory=Counter)
    """The requests that succeeded, by kind."""
    failures: list[str] = field(default_factory=list)
    """What was wrong with the others, with the seconds since the start."""
    slowest_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(5)
        self._numbers = itertools.count()
        self._idle: list[Visitor] = []
        self._stopping = False
        self._started = time.monotonic()

    @property
    def succeeded(self) -> int:
        return self.counts.total()

    @property
    def per_second(self) -> float:
        return self.succeeded / (time.monotonic() - self._started)

    async def run(self, per_second: int) -> None:
        """Begin a request each time it is due, until stopped; then wait for the last ones."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as visits:
            in_progress: set[asyncio.Task[None]] = set()
            while not self._stopping:
                if len(in_progress) < IN_PROGRESS_MAX:
                    visit = visits.create_task(self._visit())
                    in_progress.add(visit)
                    visit.add_done_callback(in_progress.discard)
                due = max(due + 1 / per_second, loop.time() - 0.1)
                await asyncio.sleep(due - loop.time())

    def stop(self) -> None:
        self._stopping = True

    async def go_on(self, requests: int) -> None:
        """Wait for some more requests, or the first failure."""
        least = self.succeeded + requests
        await eventually(lambda: self.succeeded >= least or self.failures)

    async def _visit(self) -> None:
        [kind] = self._random.choices(list(SHARES), list(SHARES.values()))
        if kind == "sign up" or not self._idle:
            await self._sign_up()
            return
        visitor = self._idle.pop(self._random.randrange(len(self._idle)))
        match kind:
            case "sign in":
                credentials = {"email": visitor.email, "password": PASSWORD}
                answer = await self._ask(kind, self.auth, "POST", "/v1/signin", json=credentials)
                visitor.tokens |= answer or {}
            case "refresh":
                form = {
                    "grant_type": "refresh_token",
                    "refresh_token": visitor.tokens["refresh_token"],
                }
                answer = await self._ask(kind, self.auth, "POST", "/oauth/token", data=form)
                visitor.tokens |= answer or {}
            case "see me":
                await self._ask(kind, self.blog, "GET", "/v1/me", headers=bearer(visitor.tokens))
            case "write":
                post = {"title": "A visit", "body": "Nothing was interrupted."}
                headers = bearer(visitor.tokens)
                await self._ask(
                    kind, self.blog, "POST", "/v1/posts", status=201, json=post, headers=headers
                )
            case "list":
                await self._ask(kind, self.blog, "GET", "/v1/posts")
        self._idle.append(visitor)

    async def _sign_up(self) -> None:
        email = f"visitor-{next(self._numbers)}@example.org"
        given = {"email": email, "password": PASSWORD}
        tokens = await self._ask("sign up", self.auth, "POST", "/v1/signup", status=201, json=given)
        if tokens is not None:
            self._idle.append(Visitor(email, tokens))

    async def _ask(
        self,
        kind: str,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        status: int = 200,
        **options: Any,
    ) -> dict[str, Any] | None:
        """Make a request and note how it went; return the body if it succeeded."""
        began = time.monotonic()
        try:
            answer = await client.request(method, path, **options)
        except httpx.HTTPError as error:
            self._note_failure(kind, began, repr(error))
            return None
        if answer.status_code != status:
            self._note_failure(kind, began, f"{answer.status_code} {answer.text[:200]}")
            return None
        self.counts[kind] += 1
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        body: dict[str, Any] = answer.json()
        return body

    def _note_failure(self, kind: str, began: float, what: str) -> None:
        self.failures.append(f"{began - self._started:.2f} s: {kind}: {what}")


@asynccontextmanager
async def visited(
    auth: httpx.AsyncClient, blog: httpx.AsyncClient, *, per_second: int
) -> AsyncIterator[Visits]:
    """Make requests inside the block; all have their responses when it ends."""
    visits = Visits(auth, blog)
    running = asyncio.create_task(visits.run(per_second))
    try:
        yield visits
    finally:
        visits.stop()
        await running
