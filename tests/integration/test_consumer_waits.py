"""While the database or broker is away the consumer waits: it parks and loses nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.settings import ConsumerSettings
from local.broker import Broker
from local.embedded_postgres import EmbeddedPostgres
from replica.inbox.consumer import Consumer
from service_kit.database.away import NotWritable
from service_kit.database.engines import pooled
from tests.support.builders import a_state, an_event
from tests.support.database_sessions import end_sessions, has_rolled_back, holding
from tests.support.databases import Databases
from tests.support.eventually import eventually
from tests.support.hostile import set_on_role
from tests.support.inbox import (
    Inbox,
    accept_writes,
    consuming,
    execute,
    fetch,
    has_applied,
    is_consuming,
    parked,
    refuse_writes,
    tries,
)
from tests.support.settings import having
from tests.support.source import LIVE, Source

OF_THE_ENVIRONMENT = (
    *("53100", "40P01", "40001", "55P03", "57014"),
    *("42703", "42P01", "25006", "XX000", "58030"),
)


async def test_an_error_of_the_environment_is_retried_and_parks_nothing(inbox: Inbox) -> None:
    async with inbox.consuming():
        for number, sqlstate in enumerate(OF_THE_ENVIRONMENT):
            await refuse_writes(inbox.engine, sqlstate)
            tried, started = await tries(inbox.engine), time.monotonic()
            await inbox.source.publish(*(an_event(a_state()) for _ in range(20)))
            # A server that is no primary is tried twice each time, then its sessions are replaced.
            each = 2 if sqlstate == "25006" else 1
            await eventually(partial(_is_tried, inbox.engine, tried + 2 * each + 1))
            assert time.monotonic() - started >= (0.1 + 0.2) / 2, sqlstate
            assert await parked(inbox.engine) == [], sqlstate
            await accept_writes(inbox.engine)
            await inbox.has_applied(20 * (number + 1))

    await inbox.assert_nothing_left()


async def test_a_consumer_waits_for_a_locked_table(inbox: Inbox) -> None:
    settings = having(inbox.settings, lock_timeout_ms=100)
    impatient = pooled(settings)

    async with consuming(settings, impatient):
        async with holding(inbox.engine, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"):
            await inbox.source.publish(an_event(a_state()))
            await eventually(lambda: has_rolled_back(inbox.engine, 2))
        await inbox.has_applied(1)
    await impatient.dispose()

    assert await parked(inbox.engine) == []


async def test_a_consumer_waits_for_a_read_only_database(inbox: Inbox) -> None:
    await inbox.declare()
    [database] = await fetch(inbox.engine, "SELECT current_database() AS name")
    alter = f'ALTER DATABASE "{database.name}"'
    await execute(inbox.engine, f"{alter} SET default_transaction_read_only = on")
    read_only = pooled(inbox.settings)

    async with consuming(inbox.settings, read_only) as consumer:
        with pytest.raises(NotWritable):
            await consumer.ready()
        await inbox.source.publish(an_event(a_state()))
        await eventually(lambda: has_rolled_back(inbox.engine, 2))
        reset = f"{alter} RESET default_transaction_read_only"
        await execute(inbox.engine, "SET TRANSACTION READ WRITE", reset)
        # End the consumer's sessions only, not those of the test.
        await inbox.engine.dispose()
        await end_sessions(inbox.engine, "true")
        await inbox.has_applied(1)
    await read_only.dispose()

    assert await parked(inbox.engine) == []


@dataclass(frozen=True)
class Mortal(Inbox):
    """An inbox on a database server that the test may stop."""

    server: EmbeddedPostgres


@pytest.fixture
async def mortal(
    mortal_postgres: tuple[EmbeddedPostgres, Databases], amqp_url: str, source: Source
) -> AsyncIterator[Mortal]:
    server, databases = mortal_postgres
    url = databases.make("blog")
    settings = ConsumerSettings(database_url=url, amqp_url=amqp_url, retry_seconds_max=0.5)
    engine = pooled(settings)
    yield Mortal(settings, engine, source, server)
    await engine.dispose()
    server.start()
    databases.drop(url)


async def test_messages_stay_unacknowledged_while_the_database_is_away(mortal: Mortal) -> None:
    events = [an_event(a_state()) for _ in range(50)]

    async with mortal.consuming() as consumer:
        await asyncio.to_thread(mortal.server.stop)
        await mortal.source.publish(*events)
        await mortal.source.has_ready(0)
        started = asyncio.get_running_loop().time()
        cpu = time.process_time()
        await eventually(lambda: asyncio.get_running_loop().time() > started + 1.5, every=0.1)
        cpu = time.process_time() - cpu
        held = await mortal.source.ready()
        await asyncio.to_thread(mortal.server.start)
        await mortal.has_applied(len(events))
        await eventually(lambda: is_consuming(consumer))

    assert held == 0
    assert cpu < 0.75, "the consumer retries in a busy loop"
    await mortal.assert_nothing_left()


async def test_a_killed_database_loses_and_parks_nothing(mortal: Mortal) -> None:
    before = [an_event(a_state()) for _ in range(1_000)]
    after = [an_event(a_state()) for _ in range(1_000)]

    async with mortal.consuming():
        publishing = asyncio.create_task(mortal.source.publish(*before))
        await asyncio.to_thread(mortal.server.kill)
        await publishing
        starting = asyncio.create_task(asyncio.to_thread(mortal.server.start))
        await mortal.source.publish(*after)
        await starting
        await mortal.has_applied(len(before + after))

    await mortal.assert_nothing_left()


async def test_acknowledged_messages_survive_a_database_crash(mortal: Mortal) -> None:
    """Even if the role turns off synchronous commits and the server writes its log slowly."""
    events = [an_event(a_state()) for _ in range(200)]
    server, url = mortal.server.server, mortal.settings.database_url
    server.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
    server.execute("ALTER SYSTEM SET wal_writer_flush_after = '1GB'")
    server.execute("SELECT pg_reload_conf()")
    try:
        with set_on_role(server, url, {"synchronous_commit": "off"}):
            async with mortal.consuming():
                await mortal.source.publish(*events)
                await mortal.has_applied(len(events))
                await mortal.source.has_ready(0)
            await asyncio.to_thread(mortal.server.kill)
            await asyncio.to_thread(mortal.server.start)
    finally:
        mortal.server.start().execute("ALTER SYSTEM RESET ALL")
        server.execute("SELECT pg_reload_conf()")

    assert await has_applied(mortal.engine, len(events))
    assert await mortal.source.ready() == 0


async def test_messages_are_requeued_when_the_database_stays_away(
    mortal: Mortal, broker: Broker, vhost: str
) -> None:
    events = [an_event(a_state()) for _ in range(50)]

    async with mortal.consuming(database_patience_seconds=0.5) as consumer:
        await asyncio.to_thread(mortal.server.stop)
        await mortal.source.publish(*events)
        await mortal.source.has_ready(len(events))
        depth = await asyncio.to_thread(broker.queue_depth, vhost, LIVE)
        is_ready_meanwhile = await _is_consuming_or_away(consumer)
        await asyncio.to_thread(mortal.server.start)
        await mortal.has_applied(len(events))

    assert depth is not None
    assert (depth.ready, depth.consumers) == (len(events), 0)
    assert not is_ready_meanwhile
    await mortal.assert_nothing_left()


async def test_an_intermittent_database_never_parks_a_message(mortal: Mortal) -> None:
    """Requeues and retries by a process that stays alive do not count as attempts."""
    hasty = {"database_patience_seconds": 0.05, "retry_seconds_max": 0.1, "attempts_max": 1}
    await refuse_writes(mortal.engine, "53100")

    async with mortal.consuming(**hasty):
        await mortal.source.publish(an_event(a_state()))
        await eventually(lambda: _is_tried(mortal.engine, 8))
        await accept_writes(mortal.engine)
        await mortal.has_applied(1)

    assert await parked(mortal.engine) == []
    assert await fetch(mortal.engine, "SELECT * FROM attempts") == []


async def test_a_closed_connection_is_reopened(inbox: Inbox, broker: Broker, vhost: str) -> None:
    async with inbox.consuming() as consumer:
        await eventually(lambda: asyncio.to_thread(broker.close_connections, vhost), every=0.5)
        await eventually(lambda: is_consuming(consumer))


async def _is_tried(engine: AsyncEngine, times: int) -> bool:
    return await tries(engine) >= times


async def _is_consuming_or_away(consumer: Consumer) -> bool:
    try:
        return await is_consuming(consumer)
    except OSError:
        return False
