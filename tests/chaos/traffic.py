"""Live HTTP traffic, and a record of what was acknowledged.

People sign up, change their address, are given roles, disabled, deleted, and write at the blog. Of
each user one request at a time is under way. A request that fails, or whose response is lost,
promises nothing; one that is acknowledged must last.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import httpx

from tests.support.auth_api import PASSWORD, bearer

WORKERS: Final = 5
PAUSE_SECONDS: Final = 0.25
TIMEOUT_SECONDS: Final = 4.0
ADMIN: Final = "admin@example.org"


@dataclass
class Person:
    """A user as far as responses tell: headers with the token, and what was acknowledged."""

    id: UUID
    email: str
    headers: dict[str, str]
    role: str | None = None
    """The last role that was acknowledged; each is given once."""
    emails: list[str] = field(default_factory=list)
    """Addresses that were acknowledged."""
    roles: list[str] = field(default_factory=list)
    is_deleted: bool = False
    """Whether the deletion was acknowledged."""
    is_uncertain: bool = False
    """Whether a deletion was requested without an answer."""


@dataclass
class Ledger:
    """Everybody who signed up, and how many requests were acknowledged or failed."""

    people: list[Person] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def acknowledged(self) -> int:
        return sum(
            count for name, count in self.counts.items() if not name.startswith(("failed", "blog"))
        )


class Traffic:
    """Makes requests until it is stopped.

    Parameters:
        auth: a client of the auth API.
        blog: a client of the blog.
        admin: the response to an administrator's sign-in.
        seed: for what is requested.
    """

    def __init__(
        self, auth: httpx.AsyncClient, blog: httpx.AsyncClient, admin: dict[str, Any], seed: int
    ) -> None:
        self.ledger = Ledger()
        self._auth = auth
        self._blog = blog
        auth.timeout = blog.timeout = TIMEOUT_SECONDS
        self._admin = bearer(admin)
        self._chance = random.Random(seed)
        self._idle: list[Person] = []
        self._number = 0
        self._posts: list[str] = []
        self._stopping = False

    async def work(self) -> None:
        """Make one request after the other."""
        while not self._stopping:
            await self._act()
            await asyncio.sleep(self._chance.uniform(0, 2 * PAUSE_SECONDS))

    def stop(self) -> None:
        self._stopping = True

    async def _act(self) -> None:
        draw = self._chance.random()
        if draw < 0.3 or len(self._idle) < 8:
            await self._sign_up()
            return
        person = self._idle.pop(self._chance.randrange(len(self._idle)))
        if draw < 0.6:
            await self._give_role(person)
        elif draw < 0.7:
            await self._change_email(person)
        elif draw < 0.8:
            await self._write(person)
        else:
            await self._delete(person)
        if not (person.is_deleted or person.is_uncertain):
            self._idle.append(person)

    async def _sign_up(self) -> None:
        self._number += 1
        email = f"person{self._number}@example.org"
        given = {"email": email, "password": PASSWORD}
        answer = await self._request(self._auth, "sign-up", "POST", "/v1/signup", json=given)
        if answer is None:
            return
        body = answer.json()
        person = Person(UUID(body["user"]["id"]), email, bearer(body), emails=[email])
        self.ledger.people.append(person)
        self._idle.append(person)
        if self._chance.random() < 0.5:
            await self._write(person)  # at once: the event may not have arrived

    async def _give_role(self, person: Person) -> None:
        self._number += 1
        role = f"role-{self._number}"
        path, given = f"/v1/admin/users/{person.id}", {"roles": [role]}
        answer = await self._request(self._auth, "change", "PATCH", path, self._admin, json=given)
        if answer is not None:
            person.roles.append(role)

    async def _change_email(self, person: Person) -> None:
        self._number += 1
        email = f"moved{self._number}@example.org"
        given = {"email": email, "password": PASSWORD}
        answer = await self._request(
            self._auth, "change", "PATCH", "/v1/me", person.headers, json=given
        )
        if answer is not None:
            person.emails.append(email)

    async def _delete(self, person: Person) -> None:
        path = f"/v1/admin/users/{person.id}"
        answer = await self._request(self._auth, "deletion", "DELETE", path, self._admin)
        person.is_deleted = answer is not None
        person.is_uncertain = answer is None

    async def _write(self, person: Person) -> None:
        what, path, text = "blog post", "/v1/posts", {"title": "A title", "body": "A body"}
        if self._posts and self._chance.random() < 0.5:
            what, text = "blog comment", {"body": "Indeed"}
            path = f"/v1/posts/{self._chance.choice(self._posts)}/comments"
        answer = await self._request(self._blog, what, "POST", path, person.headers, json=text)
        if answer is not None and what == "blog post":
            self._posts.append(answer.json()["id"])

    async def _request(
        self,
        client: httpx.AsyncClient,
        what: str,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> httpx.Response | None:
        """Send a request; return the response if it acknowledges."""
        try:
            answer = await client.request(method, path, headers=headers, **arguments)
        except httpx.HTTPError as error:
            self.ledger.counts[f"failed {what}: {type(error).__name__}"] += 1
            return None
        if not answer.is_success:
            self.ledger.counts[f"failed {what}: {answer.status_code}"] += 1
            return None
        self.ledger.counts[what] += 1
        return answer


@asynccontextmanager
async def running(traffic: Traffic) -> AsyncIterator[Ledger]:
    """Make traffic inside the block; wait for open requests after it."""
    working = [asyncio.create_task(traffic.work()) for _ in range(WORKERS)]
    try:
        yield traffic.ledger
    finally:
        traffic.stop()
        await asyncio.gather(*working)
