"""Servers stop, crash, are cut off and fill up under load; in the end both tables agree."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import DatabaseSettings
from blog_service.replica_of_users import USERS
from local.broker import Broker
from local.embedded_postgres import EmbeddedPostgres
from local.private_rabbitmq import PrivateRabbitMQ
from replica.inbox.topology import declare
from service_kit.database.engines import pooled
from tests.support.broker_accounts import as_consumer, as_relay, create_vhost
from tests.support.databases import Databases
from tests.support.eventually import eventually
from tests.support.load import loaded
from tests.support.servers import own_rabbitmq
from tests.support.settled import figure, grows, published, settled, unpublished
from tests.support.source import Source, source_on
from tests.support.system import System, at_work, broker_behind_a_proxy, ended


@pytest.fixture(scope="session")
def mortal_rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """A RabbitMQ node that a test may stop; the test must leave it running."""
    with own_rabbitmq() as node:
        yield node


QUICK = {
    "AUTH_RETRY_SECONDS_MAX": 0.5,
    "BLOG_RETRY_SECONDS_MAX": 0.5,
    "AUTH_PUBLISH_TIMEOUT_SECONDS": 2,
}


@pytest.mark.slow
async def test_a_broker_that_restarts_and_crashes_loses_nothing(
    system: System, mortal_rabbitmq: PrivateRabbitMQ, auth_engine: AsyncEngine
) -> None:
    broker = mortal_rabbitmq.broker
    create_vhost(broker, "restarts")
    elsewhere = replace(system, amqp_url=broker.amqp_url("restarts"))
    count = partial(published, system.auth_url)
    relay = elsewhere.process("auth-service relay", **QUICK)
    consumer = elsewhere.process("blog-service consumer", **QUICK)
    async with at_work(relay, consumer):
        async with loaded(auth_engine, per_second=200) as load:
            await grows(count, 100)
            await asyncio.to_thread(mortal_rabbitmq.restart)
            await grows(count, 100)
            mortal_rabbitmq.kill()
            await asyncio.to_thread(mortal_rabbitmq.start)
        async with source_on(elsewhere.amqp_url) as source:
            await settled(system, source)

    assert load.changes > 500


@pytest.fixture
def on_mortal_postgres(
    mortal_postgres: tuple[EmbeddedPostgres, Databases], system: System
) -> Iterator[tuple[EmbeddedPostgres, System]]:
    """The system with both databases on a server that a test may stop."""
    server, databases = mortal_postgres
    urls = databases.make("auth"), databases.make("blog")
    yield server, replace(system, auth_url=urls[0], blog_url=urls[1])
    server.start()
    for url in urls:
        databases.drop(url)


@pytest.mark.slow
async def test_a_database_server_that_restarts_and_crashes_loses_nothing(
    on_mortal_postgres: tuple[EmbeddedPostgres, System], source: Source
) -> None:
    """PostgreSQL with both databases restarts and is killed, twice each, under load."""
    server, system = on_mortal_postgres
    engine = pooled(DatabaseSettings(database_url=system.auth_url))
    relay = system.process("auth-service relay", **QUICK)
    consumer = system.process("blog-service consumer", **QUICK)
    async with at_work(relay, consumer):
        async with loaded(engine) as load:
            for end in (server.stop, server.kill, server.stop, server.kill):
                await grows(lambda: published(system.auth_url), 50)
                await asyncio.to_thread(end)
                await asyncio.to_thread(server.start)
        await settled(system, source)
    await engine.dispose()

    assert load.changes > 200
    assert relay.log.read_text().count("relay.active") >= 4


@pytest.mark.parametrize("cuts", [2, pytest.param(15, marks=pytest.mark.slow)])
async def test_connections_cut_before_the_confirms_lose_nothing(
    system: System, source: Source, auth_engine: AsyncEngine, cuts: int
) -> None:
    """The relay's connection is cut again and again with unconfirmed publishes in flight."""

    async def has_unpublished() -> bool:
        return await unpublished(system.auth_url) >= 10

    await declare(source.connection, USERS.queues)
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        relay = system.process("auth-service relay", AUTH_AMQP_URL=as_relay(amqp_url), **QUICK)
        consumer = system.process("blog-service consumer")
        with ended(relay, consumer):
            relay.start()
            consumer.start()
            async with loaded(auth_engine):
                for _ in range(cuts):
                    await grows(lambda: published(system.auth_url))
                    proxy.swallow_answers()
                    await eventually(has_unpublished)
                    proxy.cut()
                    proxy.swallow_answers(False)
            await settled(system, source)


@pytest.mark.parametrize("cuts", [2, pytest.param(10, marks=pytest.mark.slow)])
async def test_consumers_cut_before_their_acknowledgements_lose_nothing(
    system: System, source: Source, auth_engine: AsyncEngine, cuts: int
) -> None:
    """The consumer's connection is cut again and again with acknowledgements that do not arrive."""
    users = partial(figure, system.blog_url, "SELECT count(*) FROM users")
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        relay = system.process("auth-service relay")
        consumer = system.process(
            "blog-service consumer", BLOG_AMQP_URL=as_consumer(amqp_url), **QUICK
        )
        async with at_work(relay, consumer):
            async with loaded(auth_engine):
                for _ in range(cuts):
                    await grows(users, 5)
                    proxy.swallow_requests()
                    await eventually(users)
                    proxy.cut()
                    proxy.swallow_requests(False)
            await settled(system, source)


async def test_the_relay_waits_for_a_full_queue(
    system: System, source: Source, auth_engine: AsyncEngine, broker: Broker, vhost: str
) -> None:
    """While a queue refuses, the relay says why it waits; it continues when there is room."""

    async def says(trouble: str) -> int:
        return await figure(system.auth_url, f"SELECT count(*) FROM source WHERE {trouble}")

    await declare(source.connection, USERS.queues)
    await asyncio.to_thread(
        broker.set_policy,
        vhost,
        "full",
        "^blog.users$",
        {"max-length": 50, "overflow": "reject-publish"},
    )
    relay = system.process("auth-service relay", **QUICK)
    consumer = system.process("blog-service consumer", **QUICK)
    with ended(relay, consumer):
        relay.start()
        async with loaded(auth_engine, per_second=200):
            await eventually(partial(says, "trouble LIKE '%full%' AND trouble_since IS NOT NULL"))
            waiting = await unpublished(system.auth_url)
            await consumer.ready()
            await grows(lambda: published(system.auth_url), 50)
            await asyncio.to_thread(broker.clear_policy, vhost, "full")
        await settled(system, source)
        await eventually(partial(says, "trouble IS NULL"))

    assert waiting > 0
