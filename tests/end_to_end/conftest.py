"""The whole system with its four processes running."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.support.auth_api import bearer, signed_up
from tests.support.broker_accounts import as_consumer, as_relay
from tests.support.proxy import Proxy
from tests.support.system import COMMANDS, Member, System, at_work, broker_behind_a_proxy


@dataclass
class Person:
    """A user with their latest tokens."""

    id: str
    email: str
    headers: dict[str, str]
    refresh_token: str


@dataclass(frozen=True)
class Running:
    """The four processes, clients of both APIs, and the proxy between them and the broker."""

    system: System
    auth: httpx.AsyncClient
    blog: httpx.AsyncClient
    auth_api: Member
    relay: Member
    blog_api: Member
    consumer: Member
    broker: Proxy

    async def sign_up(self, email: str | None = None) -> Person:
        body = await signed_up(self.auth, email or f"{uuid4().hex}@example.org")
        user = body["user"]
        return Person(user["id"], user["email"], bearer(body), body["refresh_token"])

    async def me(self, person: Person, **expected: Any) -> dict[str, Any] | None:
        """Return what the blog shows to a user; None while it is not as expected."""
        answer = await self.blog.get("/v1/me", headers=person.headers)
        assert answer.status_code == 200, answer.text
        me: dict[str, Any] = answer.json()
        return me if me.items() >= expected.items() else None


@asynccontextmanager
async def running_on(system: System, **settings: object) -> AsyncIterator[Running]:
    """Run the four processes inside the block, with more settings by name."""
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        settings = {
            "AUTH_AMQP_URL": as_relay(amqp_url),
            "BLOG_AMQP_URL": as_consumer(amqp_url),
            "AUTH_RETRY_SECONDS_MAX": 0.5,
            "BLOG_RETRY_SECONDS_MAX": 0.5,
            **settings,
        }
        processes = [system.process(command, **settings) for command in COMMANDS]
        auth_api, relay, blog_api, consumer = processes
        async with at_work(*processes), auth_api.client() as auth, blog_api.client() as blog:
            yield Running(system, auth, blog, auth_api, relay, blog_api, consumer, proxy)


@pytest.fixture
async def running(system: System, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """The system with its four processes, all ready; killed afterwards.

    An indirect parameter is more settings, by name.
    """
    async with running_on(system, **getattr(request, "param", {})) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(shared_system: System) -> AsyncIterator[Running]:
    """The same for all tests of a file, which share an event loop."""
    async with running_on(shared_system) as running:
        yield running
