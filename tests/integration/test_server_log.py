"""PostgreSQL's log contains nothing personal, because it outlives deleted users.

When PostgreSQL refuses a statement, it may log the row or key that caused the error.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from auth_service.services.administer import create_service
from auth_service.services.model import ServiceNameTaken
from auth_service.settings import ApiSettings
from blog_service.replica_of_users import USERS
from blog_service.settings import ApiSettings as BlogApiSettings
from blog_service.settings import ConsumerSettings
from contracts.events import EMAIL_LENGTH_MAX, VERSION_MAX
from local.embedded_postgres import EmbeddedPostgres
from replica.inbox.settle import Settler
from service_kit.process.rates import Rate
from tests.support.auth_api import bearer, serving
from tests.support.builders import a_state, an_event
from tests.support.content import people_of
from tests.support.databases import Databases
from tests.support.inbox import execute, fetch
from tests.support.parked_messages import a_delivery

PASSWORD = "kept-out-of-logs horse battery staple"
MARK = "unloggable"
"""A word in every address, name and text of these tests."""

Settings = TypeVar("Settings", ApiSettings, BlogApiSettings)


@dataclass
class ServerLog:
    """The log that a PostgreSQL server with default settings has written since the test began."""

    path: Path
    databases: Databases
    start: int = 0
    urls: list[str] = field(default_factory=list)

    def engine(self, service: str) -> AsyncEngine:
        self.urls.append(self.databases.make(service))
        return create_async_engine(self.urls[-1])

    def unlimited(self, settings: Settings, *limits: str) -> Settings:
        """Settings of a service on the first database here, without these limits."""
        unlimited: dict[str, object] = {f"limit_{name}": Rate(10**6, 1) for name in limits}
        return settings.model_copy(update=unlimited | {"database_url": self.urls[0]})

    def written(self) -> str:
        """Return the new part of the log."""
        return self.path.read_bytes()[self.start :].decode(errors="replace")

    async def assert_nothing_personal(
        self, engine: AsyncEngine, *, refused: Sequence[str] = ()
    ) -> None:
        """Fail if the log has an address, name, text or password, or an unexpected error.

        The method causes one error itself, to show that errors are logged at all.
        """
        with pytest.raises(Exception, match="invalid input syntax"):
            await execute(engine, "SELECT 'the last line'::integer")
        written = self.written()
        assert "the last line" in written
        assert MARK not in written
        assert PASSWORD not in written
        errors = [line for line in written.splitlines() if "ERROR:" in line]
        expected = (*refused, "the last line")
        assert len(errors) == len(expected), errors
        assert all(sentence in error for sentence, error in zip(expected, errors, strict=True))


@pytest.fixture
def server_log(mortal_postgres: tuple[EmbeddedPostgres, Databases]) -> Iterator[ServerLog]:
    server, databases = mortal_postgres
    path = server.folder / "log"
    log = ServerLog(path, databases, path.stat().st_size)
    yield log
    for url in log.urls:
        databases.drop(url)


@pytest.fixture
async def auth_there(server_log: ServerLog) -> AsyncIterator[AsyncEngine]:
    engine = server_log.engine("auth")
    yield engine
    await engine.dispose()


@pytest.fixture
async def blog_there(server_log: ServerLog) -> AsyncIterator[AsyncEngine]:
    engine = server_log.engine("blog")
    yield engine
    await engine.dispose()


def address(name: str) -> str:
    return f"{name}.{MARK}@example.org"


async def test_errors_of_the_auth_service_log_nothing_personal(
    server_log: ServerLog, auth_there: AsyncEngine, api_settings: ApiSettings
) -> None:
    """Duplicate addresses and names, exhausted versions, and odd texts."""
    settings = server_log.unlimited(api_settings, "signup", "password", "signin")
    async with serving(settings) as api:

        async def signs_up(name: str, **headers: str) -> httpx.Response:
            body = {"email": address(name), "password": PASSWORD}
            return await api.post("/v1/signup", json=body, headers=headers)

        async def moves(who: dict[str, Any], name: str) -> httpx.Response:
            return await api.change_address(who, address(name), PASSWORD)

        ada, bob = [(await signs_up(name)).json() for name in ("ada", "bob")]
        taken = [await signs_up("ADA"), await moves(bob, "ada"), await moves(bob, "Ada")]
        assert {response.status_code for response in taken} == {409}

        for name in ("carol", "dora"):
            rivals = [signs_up(name) for _ in range(4)]
            crowd = await asyncio.gather(*rivals, moves(ada, name), moves(bob, name))
            assert sorted({response.status_code for response in crowd})[-1] == 409
            assert sum(response.is_success for response in crowd) == 1

        odd = [
            await signs_up("a" * EMAIL_LENGTH_MAX),
            await signs_up("nul\0"),
            await signs_up("erin", **{"User-Agent": "x" * 5_000}),
            await api.sign_in(address("\0"), PASSWORD),
            await api.verify(MARK),
            await api.get("/v1/admin/users", params={"email": address("x\0")}, headers=bearer(ada)),
        ]
        assert all(response.status_code < 500 for response in odd)

        await execute(auth_there, f"UPDATE users SET version = {VERSION_MAX}")
        assert (await moves(ada, "frank")).status_code == 409
        for who in (ada, bob):
            gone = await api.delete_me(who, PASSWORD)
            assert gone.status_code == 204, gone.text

    given: dict[str, Any] = {"scopes": ["posts:write"], "key_days": 1, "actor": "operator:test"}
    for _ in range(2):
        try:
            await create_service(auth_there, settings.secrets, name=MARK, **given)
        except ServiceNameTaken:
            break
    await server_log.assert_nothing_personal(auth_there)


async def test_errors_of_the_blog_log_nothing_personal(
    server_log: ServerLog,
    blog_there: AsyncEngine,
    blog_settings: BlogApiSettings,
    signing_key: rsa.RSAPrivateKey,
    consumer_settings: ConsumerSettings,
) -> None:
    """Events of odd users, parked messages, and texts of the maximum length."""
    settler = Settler(USERS, consumer_settings, blog_there)
    user = a_state(email=address("ada"))
    swapped = [a_state(email=address("ada")), a_state(email="z" * 150 + address("long"))]
    wide = user.model_copy(update={"version": 2, "roles": ("r" * 64,) * 32})
    for state in (user, *swapped, wide):
        await settler.settle([a_delivery(an_event(state))])
    body = user.model_dump_json().encode()
    for bad in (b"{" + body, body.replace(b'"version":1', b'"version":"' + MARK.encode() + b'"')):
        await settler.settle([a_delivery(an_event(user), body=bad)])
    nul = a_state(email=address("nul\0"))
    await settler.settle([a_delivery(an_event(nul))])
    assert len(await fetch(blog_there, "SELECT 1 FROM parked_messages")) == 3

    settings = server_log.unlimited(blog_settings, "posts", "comments")
    async with people_of(settings, signing_key) as people:
        for size in (20, 50, 51, 200, 201, 20_000, 200_000):
            words = (f"{MARK} " * size)[:size]
            for response in (
                await people.ask(user.id, "PATCH", "/v1/me", {"display_name": words, "bio": words}),
                await people.ask(user.id, "POST", "/v1/posts", {"title": words, "body": words}),
                await people.keep(user.id, uuid4(), title=words[:20], body=words),
            ):
                assert response.status_code < 500, response.text
        post_id = uuid4()
        kept = [people.keep(user.id, post_id, title=MARK, body=str(n)) for n in range(5)]
        assert all(response.is_success for response in await asyncio.gather(*kept))
        assert (await people.keep(swapped[0].id, post_id, title=MARK)).status_code == 403
    # The message fails in a batch of one and again alone.
    nul_byte = "invalid byte sequence"
    await server_log.assert_nothing_personal(blog_there, refused=[nul_byte, nul_byte])
