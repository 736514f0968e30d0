"""The relay restores what was deleted at the broker, and a silent broker makes it not ready."""

import asyncio
from functools import partial

import pytest
from prometheus_client import REGISTRY
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox import metrics
from auth_service.outbox.readiness import BrokerAway, NoActiveRelay, NoHeartbeat, NotReady, ready
from auth_service.outbox.relay import DECLARE_SECONDS, Relay
from auth_service.settings import DatabaseSettings, RelaySettings
from blog_service.replica_of_users import USERS
from contracts.events.names import EXCHANGE, REPLAY_EXCHANGE
from local.broker import Broker
from replica.status import metrics as blog_metrics
from service_kit.broker.connection import BROKER_ERRORS, SILENCE_SECONDS_MAX, connected
from service_kit.database.engines import pooled
from tests.support.background import in_background
from tests.support.broker_accounts import create_vhost
from tests.support.builders import a_state
from tests.support.eventually import eventually
from tests.support.relaying import Pipe, bind, proxied, recorded, relaying, taken
from tests.support.source import source_on

WITHIN = 30.0
"""Seconds in which everything is published again."""


async def says(
    relay: Relay, pipe: Pipe, expected: type[NotReady] | None, heartbeat_seconds: float = 3600.0
) -> bool:
    """Return whether the relay is not ready for this reason; None: it is ready, without trouble."""
    try:
        trouble = await ready(relay, pipe.engine, heartbeat_seconds=heartbeat_seconds)
    except NotReady as error:
        return type(error) is expected
    return (trouble, expected) == (None, None)


async def test_an_idle_relay_declares_deleted_exchanges_again(pipe: Pipe) -> None:
    """Both exchanges, by a relay that is connected and has nothing to publish."""
    async with pipe.relaying(heartbeat_seconds=3600.0):
        await pipe.record(a_state())
        await pipe.taken(1)

        for name in (EXCHANGE, REPLAY_EXCHANGE):
            await pipe.source.channel.exchange_delete(name)

        await eventually(lambda: are_there(pipe.settings.amqp_url), within=DECLARE_SECONDS + 10)
        await pipe.bind()
        await pipe.record(a_state())
        await pipe.taken(1, within=WITHIN)


async def test_the_relay_uses_a_virtual_host_that_was_deleted_and_recreated(
    auth_engine: AsyncEngine,
    relay_settings: RelaySettings,
    broker: Broker,
    vhost: str,
    amqp_url: str,
) -> None:
    """With its permissions restored; events recorded in between are published."""
    async with relaying(relay_settings):
        await eventually(lambda: are_there(relay_settings.amqp_url))
        await asyncio.to_thread(broker.delete_vhost, vhost)
        await recorded(auth_engine, a_state())
        await asyncio.to_thread(create_vhost, broker, vhost)

        await eventually(lambda: are_there(relay_settings.amqp_url), within=WITHIN)
        async with source_on(amqp_url) as source:
            await bind(source)
            await taken(source, 1, within=WITHIN)


async def test_a_relay_whose_broker_is_silent_is_not_ready(pipe: Pipe) -> None:
    """Even with nothing to publish; it is ready again when the broker responds."""
    async with proxied(pipe.changed(heartbeat_seconds=3600.0)) as (proxy, settings):
        relay = Relay(settings)
        async with in_background(relay.run()):
            await eventually(lambda: says(relay, pipe, None))
            proxy.swallow_answers()
            await eventually(lambda: says(relay, pipe, BrokerAway), within=SILENCE_SECONDS_MAX + 5)
            proxy.cut()
            proxy.swallow_answers(False)
            await eventually(lambda: says(relay, pipe, None))


async def test_a_waiting_relay_is_ready_while_another_one_works(pipe: Pipe) -> None:
    """It checks the lock and the heartbeats; three missed heartbeats are too many."""
    idle = Relay(quiet := pipe.changed(heartbeat_seconds=3600.0))
    assert await says(idle, pipe, NoActiveRelay, 15.0)
    async with relaying(quiet):
        await eventually(lambda: says(idle, pipe, None, 15.0))
        await pipe.execute("UPDATE source SET heartbeat_at = now() - interval '46 s'")
        assert await says(idle, pipe, NoHeartbeat, 15.0)


async def test_database_metrics_are_absent_while_the_database_is_away(
    auth_engine: AsyncEngine, blog_engine: AsyncEngine, unused_port: int
) -> None:
    """At both services; the last values are not repeated."""
    nowhere = f"postgresql+asyncpg://postgres@127.0.0.1:{unused_port}/nowhere"
    gone = pooled(DatabaseSettings(database_url=nowhere))
    await metrics.refresh(auth_engine)
    await blog_metrics.refresh(USERS, blog_engine)
    before = shown()

    for refresh in (metrics.refresh, partial(blog_metrics.refresh, USERS)):
        with pytest.raises(OSError, match="Connect"):
            await refresh(gone)

    assert len(before) == len(NAMES)
    assert shown() == set()
    await metrics.refresh(auth_engine)
    await blog_metrics.refresh(USERS, blog_engine)
    assert shown() == before


NAMES = {
    *("outbox_unpublished", "outbox_oldest_unpublished_age_seconds", "outbox_set_aside"),
    *("outbox_held_rows", "parked_messages", "heartbeat_age_seconds", "degraded", "sweep_due"),
    "last_reconciled_timestamp_seconds",
}


def shown() -> set[str]:
    return {name for name in NAMES if REGISTRY.get_sample_value(f"usersync_{name}") is not None}


async def are_there(amqp_url: str) -> bool:
    try:
        async with connected(amqp_url, name="a test") as connection:
            channel = await connection.channel()
            for name in (EXCHANGE, REPLAY_EXCHANGE):
                await channel.get_exchange(name, ensure=True)
    except BROKER_ERRORS:
        return False
    return True
