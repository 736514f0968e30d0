"""A service with a replica and nothing else: a newsletter, which needs addresses and no more."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import BigInteger, Column, DateTime, MetaData, Table, Text, Uuid
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from auth_service.app import create_app
from auth_service.services.administer import create_service
from auth_service.settings import ApiSettings, RelaySettings
from contracts.sync.comparison import SCOPE
from local.postgres_server import PostgresServer
from replica.commands import commands
from replica.digests.install import install_digests
from replica.proof.prove import Proof
from replica.reconcile.model import Kind
from replica.reconcile.source import Source
from replica.reconcile.watch import watch
from replica.schema import metadata as of_a_replica
from replica.service import Service
from replica.settings import ConsumerSettings
from replica.status.read import status
from replica.table import Replica
from service_kit.database.engines import pooled
from tests.support.background import in_background
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.eventually import eventually
from tests.support.http_server import served
from tests.support.inbox import consuming, execute, fetch
from tests.support.reconciling import IN_AUTH, MADE, Pair, prove_once
from tests.support.relaying import relaying
from tests.support.source import source_on

metadata = MetaData()
readers = Table(
    "readers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("email", Text),
    Column("deleted_at", DateTime(timezone=True)),
)
READERS = Replica(readers, service="newsletter", command="newsletter")
NEWSLETTER = Service.of(READERS)


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    name = f"test_newsletter_{uuid4().hex[:12]}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
async def settings(
    database_url: str,
    amqp_url: str,
    api_settings: ApiSettings,
    relay_settings: RelaySettings,
    auth_engine: AsyncEngine,
) -> AsyncIterator[ConsumerSettings]:
    """Run the source, with a service account for the newsletter; return the consumer's settings."""
    issued = await create_service(
        auth_engine,
        api_settings.secrets,
        name="newsletter",
        scopes=[SCOPE],
        key_days=1,
        actor="operator:test",
    )
    with served(create_app(api_settings)) as server:
        async with relaying(relay_settings):
            yield NEWSLETTER.consumer(
                _env_file=None,
                database_url=database_url,
                amqp_url=amqp_url,
                auth_url=f"http://127.0.0.1:{server.port}",
                service_id=issued.id,
                api_key=SecretStr(issued.api_key),
                reconcile_wait_seconds=20.0,
            )


@pytest.fixture
async def engine(settings: ConsumerSettings) -> AsyncIterator[AsyncEngine]:
    engine = pooled(settings)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.run_sync(of_a_replica.create_all)
        await install_digests(connection, READERS)
    yield engine
    await engine.dispose()


@pytest.fixture
async def consumer(settings: ConsumerSettings, engine: AsyncEngine) -> AsyncIterator[None]:
    async with consuming(settings, engine, READERS):
        yield


def newsletter(settings: ConsumerSettings, *arguments: str) -> tuple[int, str]:
    assert settings.api_key is not None
    app = commands("newsletter", lambda: NEWSLETTER, prefix="NEWSLETTER_")
    ended = CliRunner().invoke(
        app,
        list(arguments),
        env={
            "NEWSLETTER_DATABASE_URL": settings.database_url,
            "NEWSLETTER_AMQP_URL": settings.amqp_url,
            "NEWSLETTER_AUTH_URL": settings.auth_url,
            "NEWSLETTER_SERVICE_ID": settings.service_id,
            "NEWSLETTER_API_KEY": settings.api_key.get_secret_value(),
        },
    )
    return ended.exit_code, ended.output


async def differing(auth: AsyncEngine, engine: AsyncEngine) -> int:
    query = "SELECT id, version, email, deleted_at FROM "
    theirs = {tuple(row) for row in await fetch(auth, f"{query} users")}
    ours = {tuple(row) for row in await fetch(engine, f"{query} readers")}
    return len({row[0] for row in theirs ^ ours})


async def proved(settings: ConsumerSettings, auth: AsyncEngine, engine: AsyncEngine) -> Proof:
    """Make one proof."""
    async with Source(settings) as source:
        return await prove_once(Pair(settings, auth, engine), source, replica=READERS)


@pytest.mark.usefixtures("consumer")
async def test_it_populates_itself_and_repairs_damage(
    settings: ConsumerSettings, auth_engine: AsyncEngine, engine: AsyncEngine
) -> None:
    """Compared by versions: what is missing, stale, undeleted, unknown or ahead is found."""
    await execute(auth_engine, MADE.format(count=200, one_in=10, **IN_AUTH))

    async def is_populated() -> bool:
        return not await differing(auth_engine, engine)

    async with in_background(watch(READERS, settings, engine)):
        await eventually(is_populated, within=60)
        compared = "SELECT 1 FROM reconcile_runs WHERE source IS NOT NULL"
        await eventually(lambda: fetch(engine, compared))
    populated = await proved(settings, auth_engine, engine)
    stranger = uuid4()
    await execute(
        engine,
        "DELETE FROM readers WHERE email LIKE 'user1_@%'",
        "UPDATE readers SET version = version - 1 WHERE email LIKE 'user2_@%'",
        "UPDATE readers SET deleted_at = NULL WHERE id ="
        " (SELECT min(id::text)::uuid FROM readers WHERE deleted_at IS NOT NULL)",
        "UPDATE readers SET version = version + 7 WHERE email = 'user33@example.org'",
        f"INSERT INTO readers (id, version, email) VALUES ('{stranger}', 5, 'nobody@example.org')",
    )

    found = await asyncio.to_thread(newsletter, settings, "reconcile", "--json")
    proof = await proved(settings, auth_engine, engine)
    repaired = await asyncio.to_thread(
        newsletter, settings, "reconcile", "--repair", "--ahead", "--orphans"
    )
    after = await asyncio.to_thread(newsletter, settings, "reconcile")

    assert (populated.comparison, populated.proved.rows) == (None, 200)
    assert proof.tally.repaired == {Kind.MISSING: 9, Kind.STALE: 9, Kind.UNDELETED: 1}
    assert proof.proved.differing == {"ahead": 1, "orphan": 1}
    assert found[0] == 1
    for kind, users in {"missing": 9, "stale": 9, "undeleted": 1, "ahead": 1, "orphan": 1}.items():
        assert f'"{kind}": {users}' in found[1]
    assert repaired[0] == 0
    assert "2 repaired" in repaired[1]
    assert (after[0], after[1].partition(",")[0]) == (0, "in step: 200 users")
    [left] = await fetch(engine, f"SELECT * FROM readers WHERE id = '{stranger}'")
    assert (left.version, left.email, left.deleted_at is None) == (6, None, False)
    await execute(engine, f"DELETE FROM readers WHERE id = '{stranger}'")
    assert await is_populated()


@pytest.mark.usefixtures("consumer")
async def test_it_works_like_any_replica(settings: ConsumerSettings, engine: AsyncEngine) -> None:
    """What every service with a replica gets, in its own queues and its own table."""
    reader = a_state(version=1, email="reader@example.org")

    async def row() -> tuple[str | None, bool] | None:
        query = f"SELECT email, deleted_at FROM readers WHERE id = '{reader.id}'"
        rows = await fetch(engine, query)
        return (rows[0].email, rows[0].deleted_at is not None) if rows else None

    async def is_row(expected: tuple[str | None, bool]) -> bool:
        return await row() == expected

    async with source_on(settings.amqp_url) as source:
        await source.publish(an_event(reader))
        await eventually(lambda: is_row(("reader@example.org", False)))
        await source.publish(an_event(a_tombstone(reader.id, version=2)))
        await eventually(lambda: is_row((None, True)))
        await source.publish_raw(b"garbage", exchange="", routing_key="newsletter.users")
        await eventually(lambda: fetch(engine, "SELECT id FROM parked_messages"))

    async with engine.connect() as connection:
        figures = await status(READERS, settings, connection, settings.amqp_url)
    listed = await asyncio.to_thread(newsletter, settings, "parked", "list")
    assert figures["parked_messages"] == 1
    assert (figures["users"], figures["users_deleted"]) == (0, 1)
    assert figures["queue_depth"] == 0
    assert "not_a_cloud_event" in listed[1]
