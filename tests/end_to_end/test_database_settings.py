"""An administrator changes settings, ends sessions or makes PostgreSQL read-only meanwhile."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.engine import make_url

from local.compare import compare
from local.postgres_server import PostgresServer
from tests.end_to_end.conftest import Person, Running
from tests.support.auth_api import PASSWORD
from tests.support.database_roles import acting_as
from tests.support.eventually import eventually
from tests.support.hostile import HOSTILE, set_on_role
from tests.support.system import COMMANDS, System

CROWD = 100
PATIENT = {"BLOG_STATEMENT_TIMEOUT_MS": 60_000}
"""A request waits that long for a connection too: a busy machine must not look like a conflict."""
READ_ONLY = {"default_transaction_read_only": "on"}


@pytest.fixture
def hostile(postgres: PostgresServer, system: System) -> Iterator[None]:
    with set_on_processes(postgres, system):
        yield


@contextmanager
def set_on_processes(
    postgres: PostgresServer, system: System, settings: Mapping[str, str] = HOSTILE
) -> Iterator[None]:
    """Apply settings to the roles of all processes, inside the block."""
    with ExitStack() as stack:
        for kind in ("auth_api", "auth_relay", "blog_api", "blog_consumer"):
            url = system.auth_url if kind.startswith("auth") else system.blog_url
            stack.enter_context(set_on_role(postgres, acting_as(kind, url), settings))
        yield


async def posted(running: Running, person: Person) -> httpx.Response:
    body = {"title": "A title", "body": "A body"}
    return await running.blog.post("/v1/posts", json=body, headers=person.headers, timeout=60)


async def works(running: Running) -> None:
    """Check that a sign-up, its replication and a post succeed at the first try."""
    person = await running.sign_up()
    assert (await posted(running, person)).status_code == 201
    await eventually(lambda: running.me(person, status="active"))


async def readiness(running: Running) -> list[tuple[int, Any]]:
    found = []
    for member in (running.auth_api, running.relay, running.blog_api, running.consumer):
        async with member.client() as client:
            answer = await client.get("/readyz")
        found.append((answer.status_code, answer.json().get("reason")))
    return found


def end_sessions(postgres: PostgresServer, system: System) -> int:
    names = [make_url(url).database for url in (system.auth_url, system.blog_url)]
    ended = postgres.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = ANY($1) AND pid <> pg_backend_pid()",
        names,
    )
    return len(ended)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("running", [PATIENT], indirect=True, ids=["patient"])
async def test_the_worst_settings_of_a_role_change_nothing(running: Running) -> None:
    """Many posts at once succeed, and a comparison from outside finds both tables equal."""
    people = [await running.sign_up() for _ in range(20)]
    answers = await asyncio.gather(*(posted(running, people[n % 20]) for n in range(CROWD)))
    complaints = [line for line in running.blog_api.log.read_text().splitlines() if "away" in line]
    assert {answer.status_code for answer in answers} == {201}, complaints
    for person in people:
        await eventually(partial(running.me, person, status="active"))
    assert not (await compare(running.system.auth_url, running.system.blog_url)).differences


async def test_the_first_request_after_all_sessions_were_ended_succeeds(
    running: Running, postgres: PostgresServer
) -> None:
    """At both APIs, and so does everything after it up to the replica."""
    for _ in range(3):
        await works(running)
        assert await asyncio.to_thread(end_sessions, postgres, running.system) >= 4
        assert (await running.blog.get("/v1/posts")).status_code == 200
    await works(running)


async def test_a_database_that_was_read_only_for_a_moment(
    running: Running, postgres: PostgresServer
) -> None:
    """Every process reports that it is not ready, and works again by itself."""
    await works(running)
    with set_on_processes(postgres, running.system, READ_ONLY):
        await asyncio.to_thread(end_sessions, postgres, running.system)

        async def all_know() -> bool:
            assert await readiness(running) == [(503, "NotWritable")] * 4
            return True

        await eventually(all_know)
        body = {"email": "ada@example.org", "password": PASSWORD}
        assert (await running.auth.post("/v1/signup", json=body)).status_code == 503
        assert (await running.blog.get("/v1/posts")).status_code == 200

    async def all_ready() -> bool:
        assert [status for status, _ in await readiness(running)] == [200] * 4
        return True

    await eventually(all_ready, within=10)
    await works(running)


async def test_no_process_starts_on_another_encoding(
    system: System, postgres: PostgresServer
) -> None:
    """Each exits with a sentence that names the remedy."""
    name = f"test_latin1_{uuid4().hex}"
    postgres.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    url = postgres.url(name)
    try:
        for command in (*COMMANDS, "blog-service status", "auth-service status"):
            databases = {"AUTH_DATABASE_URL": url, "BLOG_DATABASE_URL": url}
            refused = await system.command(command, code=1, **databases)
            assert "has the encoding LATIN1" in refused.stderr, command
            assert "CREATE DATABASE" in refused.stderr
    finally:
        postgres.drop_database(name)
