"""The previous release's processes work while the newest migrations run, and after them.

That is what an upgrade looks like: first the schema, then one process after the other.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from local.postgres_server import PostgresServer
from tests.chaos.traffic import ADMIN, Ledger, Traffic, running
from tests.support.auth_api import PASSWORD
from tests.support.eventually import eventually
from tests.support.processes import run
from tests.support.releases import BEFORE_RELEASES, code_of, migrate_both, migrated_by
from tests.support.settled import settled
from tests.support.source import source_on
from tests.support.system import COMMANDS, System, at_work

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

REQUESTS = 60
"""Acknowledged before the migrations begin, and again after they have ended."""

PATIENCE_SECONDS = 30
"""A busy machine may be slow. One that waits for a lock is refused after two seconds (503)."""

NO_POST = "failed blog comment: 404"
"""The right response if the author of the post was deleted before."""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The folder with the earlier code."""
    return code_of(BEFORE_RELEASES, tmp_path)


@pytest.fixture
def previous(code: Path, system: System, postgres: PostgresServer) -> Iterator[System]:
    with migrated_by(code, system, postgres) as previous:
        yield previous


async def _administrator(
    auth: httpx.AsyncClient, settings: Mapping[str, str], code: Path
) -> dict[str, object]:
    """Create an administrator with the previous release's command, and sign them in."""
    command, typed = f"auth-service users create-admin {ADMIN}", f"{PASSWORD}\n".encode()
    done = await asyncio.to_thread(run, command, settings, code, typed=typed, installed=True)
    assert done.returncode == 0, done.stdout + done.stderr
    given = {"email": ADMIN, "password": PASSWORD}
    return dict((await auth.post("/v1/signin", json=given)).json())


async def _more(ledger: Ledger) -> None:
    before = ledger.acknowledged
    await eventually(lambda: ledger.acknowledged >= before + REQUESTS, within=120, every=0.1)


async def test_the_previous_release_works_while_the_newest_migrations_run(
    code: Path, previous: System
) -> None:
    """No request fails, no event is lost, and both tables are equal."""
    # It has no roles and accounts for its processes: they are the owner's, and an administrator's.
    settings = {
        "PYTHONPATH": str(code),
        "AUTH_DATABASE_URL": previous.auth_url,
        "AUTH_AMQP_URL": previous.amqp_url,
        "BLOG_DATABASE_URL": previous.blog_url,
        "BLOG_AMQP_URL": previous.amqp_url,
    }
    processes = [previous.process(command, **settings) for command in COMMANDS]
    auth_api, _, blog_api, _ = processes
    async with (
        at_work(*processes),
        auth_api.client() as auth,
        blog_api.client() as blog,
        source_on(previous.amqp_url, declare=False) as source,
    ):
        admin = await _administrator(auth, previous.environment | settings, code)
        traffic = Traffic(auth, blog, admin, seed=14)
        auth.timeout = blog.timeout = PATIENCE_SECONDS
        async with running(traffic) as ledger:
            await _more(ledger)
            await asyncio.to_thread(migrate_both, previous)
            await _more(ledger)
        await settled(previous, source)
    failed = {name for name in ledger.counts if name.startswith("failed")}
    assert failed <= {NO_POST}, ledger.counts
