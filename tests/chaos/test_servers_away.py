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
from tests.support.databases import Databases
from tests.support.eventually import eventually
from tests.support.load import loaded
from tests.support.settled import figure, is_settled, published, unpublished
from tests.support.source import Source, source_on
from tests.support.system import System, broker_behind_a_proxy, ended

QUICK = {
    "AUTH_RETRY_SECONDS_MAX": 0.5,
    "BLOG_RETRY_SECONDS_MAX": 0.5,
    "AUTH_PUBLISH_TIMEOUT_SECONDS": 2,
}


@pytest.mark.slow
async def test_a_broker_that_restarts_and_crashes_loses_nothing(
    system: System, mortal_rabbitmq: PrivateRabbitMQ, auth_engine: AsyncEngine
) -> None:
    """RabbitMQ restarts, and then gets SIGKILL, while users sign up, change and are deleted."""
    broker = mortal_rabbitmq.broker
    broker.create_vhost("restarts")
    elsewhere = replace(system, amqp_url=broker.amqp_url("restarts"))
    relay = elsewhere.process("auth-service relay", **QUICK)
    consumer = elsewhere.process("blog-service consumer", **QUICK)
    with ended(relay, consumer):
        relay.start()
        await consumer.ready()
        async with loaded(auth_engine, per_second=200) as load:
            await eventually(lambda: _more_published(system, 100))
            await asyncio.to_thread(mortal_rabbitmq.restart)
            number = await published(system.auth_url)
            await eventually(lambda: _more_published(system, number + 100), within=60)
            mortal_rabbitmq.kill()
            await asyncio.to_thread(mortal_rabbitmq.start)
        async with source_on(elsewhere.amqp_url) as source:
            await eventually(
                lambda: is_settled(system.auth_url, system.blog_url, source), within=90, every=0.5
            )

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
    with ended(relay, consumer):
        relay.start()
        await consumer.ready()
        async with loaded(engine) as load:
            for end in (server.stop, server.kill, server.stop, server.kill):
                number = await published(system.auth_url)
                await eventually(partial(_more_published, system, number + 50), within=60)
                await asyncio.to_thread(end)
                await asyncio.to_thread(server.start)
        await eventually(
            lambda: is_settled(system.auth_url, system.blog_url, source), within=60, every=0.5
        )
    await engine.dispose()

    assert load.changes > 200
    assert relay.log.read_text().count("relay.active") >= 4


@pytest.mark.parametrize("cuts", [2, pytest.param(15, marks=pytest.mark.slow)])
async def test_connections_cut_before_the_confirms_lose_nothing(
    system: System, source: Source, auth_engine: AsyncEngine, cuts: int
) -> None:
    """The relay's connection is cut again and again with unconfirmed publishes in flight."""
    await declare(source.connection, USERS.queues)
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        relay = system.process("auth-service relay", AUTH_AMQP_URL=amqp_url, **QUICK)
        consumer = system.process("blog-service consumer")
        with ended(relay, consumer):
            relay.start()
            consumer.start()
            async with loaded(auth_engine):
                for _ in range(cuts):
                    number = await published(system.auth_url)
                    await eventually(partial(_more_published, system, number + 1), within=30)
                    proxy.swallow_answers()
                    await eventually(lambda: _has_unpublished(system, 10))
                    proxy.cut()
                    proxy.swallow_answers(False)
            await eventually(
                lambda: is_settled(system.auth_url, system.blog_url, source), within=60, every=0.5
            )


@pytest.mark.parametrize("cuts", [2, pytest.param(10, marks=pytest.mark.slow)])
async def test_consumers_cut_before_their_acknowledgements_lose_nothing(
    system: System, source: Source, auth_engine: AsyncEngine, cuts: int
) -> None:
    """The consumer's connection is cut again and again with acknowledgements that do not arrive."""
    async with broker_behind_a_proxy(system.amqp_url) as (proxy, amqp_url):
        relay = system.process("auth-service relay")
        consumer = system.process("blog-service consumer", BLOG_AMQP_URL=amqp_url, **QUICK)
        with ended(relay, consumer):
            relay.start()
            await consumer.ready()
            async with loaded(auth_engine):
                for _ in range(cuts):
                    number = await _users(system)
                    await eventually(partial(_has_users, system, number + 5), within=30)
                    proxy.swallow_requests()
                    await eventually(lambda: _has_users(system, 1))
                    proxy.cut()
                    proxy.swallow_requests(False)
            await eventually(
                lambda: is_settled(system.auth_url, system.blog_url, source), within=60, every=0.5
            )


async def test_the_relay_waits_for_a_full_queue(
    system: System,
    source: Source,
    auth_engine: AsyncEngine,
    broker: Broker,
    vhost: str,
) -> None:
    """While a queue refuses, the relay says why it waits; it continues when there is room."""
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
            await eventually(lambda: _says_full(system))
            waiting = await unpublished(system.auth_url)
            await consumer.ready()
            number = await published(system.auth_url)
            await eventually(lambda: _more_published(system, number + 50), within=60)
            await asyncio.to_thread(broker.clear_policy, vhost, "full")
        await eventually(
            lambda: is_settled(system.auth_url, system.blog_url, source), within=60, every=0.5
        )
        await eventually(lambda: _says_nothing(system))

    assert waiting > 0


async def _more_published(system: System, number: int) -> bool:
    found = await published(system.auth_url)
    assert found >= number, f"{found} events published, not {number}"
    return True


async def _has_unpublished(system: System, number: int) -> bool:
    return await unpublished(system.auth_url) >= number


async def _users(system: System) -> int:
    return await figure(system.blog_url, "SELECT count(*) FROM users")


async def _has_users(system: System, number: int) -> bool:
    return await _users(system) >= number


async def _says_full(system: System) -> bool:
    said = "SELECT count(*) FROM source WHERE trouble LIKE '%full%' AND trouble_since IS NOT NULL"
    return await figure(system.auth_url, said) == 1


async def _says_nothing(system: System) -> bool:
    return await figure(system.auth_url, "SELECT count(*) FROM source WHERE trouble IS NULL") == 1
