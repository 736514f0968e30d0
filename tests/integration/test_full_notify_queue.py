"""PostgreSQL's notification queue is full: events are still published, found by polling."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.heartbeat import record_heartbeat
from auth_service.outbox.relay import POLL_SECONDS
from auth_service.settings import RelaySettings
from auth_service.users.passwords import Passwords
from local.embedded_postgres import EmbeddedPostgres
from service_kit.database.engines import pooled
from tests.support.accounts import Accounts
from tests.support.builders import SOURCE
from tests.support.database_sessions import committed
from tests.support.databases import Databases
from tests.support.relaying import bind, relaying, taken
from tests.support.source import Source

PAGES = 64
"""The smallest queue that PostgreSQL can be configured with: half a megabyte."""


@pytest.fixture
async def small(
    mortal_postgres: tuple[EmbeddedPostgres, Databases], amqp_url: str
) -> AsyncIterator[RelaySettings]:
    server, databases = mortal_postgres
    alter = f"ALTER SYSTEM SET max_notify_queue_pages = {PAGES}"
    await asyncio.to_thread(server.start().execute, alter)
    await asyncio.to_thread(server.restart)
    url = databases.make("auth")
    yield RelaySettings(_env_file=None, database_url=url, amqp_url=amqp_url, issuer=SOURCE)
    await asyncio.to_thread(server.start().execute, "ALTER SYSTEM RESET max_notify_queue_pages")
    await asyncio.to_thread(server.restart)
    databases.drop(url)


@pytest.fixture
async def engine(small: RelaySettings) -> AsyncIterator[AsyncEngine]:
    engine = pooled(small)
    yield engine
    await engine.dispose()


async def test_sign_ups_succeed_and_their_events_are_found_within_seconds(
    small: RelaySettings, engine: AsyncEngine, passwords: Passwords, source: Source
) -> None:
    """A session in another database listens and sleeps in a transaction; others fill the queue."""
    await bind(source)
    async with relaying(small), full(small.database_url):
        ada = await Accounts(engine, passwords).sign_up("ada@example.org")
        [message] = await taken(source, 1, within=POLL_SECONDS + 5)
        assert message.event.data.subject == ada.id
        await committed(engine, record_heartbeat)


@asynccontextmanager
async def full(database_url: str) -> AsyncIterator[None]:
    url = make_url(database_url).set(drivername="postgresql")
    elsewhere = url.set(database="postgres").render_as_string(hide_password=False)
    sleeper = await asyncpg.connect(elsewhere)
    filler = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        await sleeper.execute("LISTEN anything")
        await sleeper.execute("BEGIN; SELECT 1")
        await notify_until_full(filler, 7900)
        # The rest of the last page is too small for those, but not for a wake-up.
        await notify_until_full(filler, 0)
        yield
    finally:
        await filler.close()
        await sleeper.close()


async def notify_until_full(connection: "asyncpg.Connection[asyncpg.Record]", size: int) -> None:
    """Send notifications with a payload of this size until PostgreSQL refuses one."""
    while True:
        try:
            await connection.execute("SELECT pg_notify('x', repeat('x', $1))", size)
        except asyncpg.ProgramLimitExceededError:
            return
