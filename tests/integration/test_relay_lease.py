"""The active relay has a lease: a silent relay loses it, and another takes over."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from auth_service.outbox.table import RELAY_LEASE
from auth_service.settings import RelaySettings
from local.ports import free_port
from service_kit.database.lease import LEASE_SECONDS, STALE_SECONDS
from tests.support.builders import a_state
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.relaying import Pipe, relaying

A_MOMENT = 8.0
"""Seconds on top of a limit, for a busy machine."""


@pytest.fixture
async def process(relay_settings: RelaySettings, tmp_path: Path) -> AsyncIterator[Process]:
    url = make_url(relay_settings.database_url).set(drivername="postgresql")
    environment = {
        "AUTH_DATABASE_URL": url.render_as_string(hide_password=False),
        "AUTH_AMQP_URL": relay_settings.amqp_url,
        "AUTH_ISSUER": relay_settings.issuer,
        "AUTH_RELAY_PORT": str(free_port()),
    }
    process = Process("auth-service relay", environment, tmp_path / "relay.log")
    process.start()
    try:
        await process.is_ready(f"http://127.0.0.1:{environment['AUTH_RELAY_PORT']}/readyz")
        yield process
    finally:
        process.kill()


async def test_a_frozen_relay_is_replaced_and_waits_afterwards(
    pipe: Pipe, process: Process
) -> None:
    """The server ends its session; when the process continues, it finds another relay active."""
    frozen = await eventually(pipe.leader)
    async with pipe.relaying():
        process.signal(signal.SIGSTOP)
        await pipe.record(a_state())

        await pipe.taken(1, within=LEASE_SECONDS + A_MOMENT)

        second = await eventually(pipe.leader)
        assert second != frozen
        process.signal(signal.SIGCONT)
        for _ in range(5):
            await pipe.record(a_state())
        await eventually(pipe.all_published)
        assert await pipe.leader() == second
        assert process.is_running

    await eventually(pipe.leader)
    await pipe.record(a_state())
    await eventually(pipe.all_published)


async def test_an_idle_relay_keeps_its_lease(pipe: Pipe) -> None:
    """Also while the broker is away, when the relay has no statement to run for a long time."""
    settings = pipe.settings.model_copy(
        update={"amqp_url": f"amqp://127.0.0.1:{free_port()}/", "retry_seconds_max": 3600.0}
    )
    async with relaying(settings), pipe.engine.connect() as connection:
        first = await eventually(pipe.leader)
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        began = await raw.fetchval("SELECT clock_timestamp()")

        async def is_long_ago() -> bool:
            assert await pipe.leader() == first
            past = "SELECT clock_timestamp() > CAST($1 AS timestamptz) + make_interval(secs => $2)"
            return bool(await raw.fetchval(past, began, float(LEASE_SECONDS + 2)))

        await eventually(is_long_ago, within=LEASE_SECONDS + A_MOMENT, every=0.2)


async def test_a_stale_session_that_the_server_keeps_is_terminated(pipe: Pipe) -> None:
    """For example a session in which the server waits for a frozen client to read."""
    url = make_url(pipe.settings.database_url).set(drivername="postgresql")
    silent = await asyncpg.connect(
        url.render_as_string(hide_password=False),
        server_settings={"application_name": "auth-service relay", "idle_session_timeout": "0"},
    )
    await silent.fetchval("SELECT pg_advisory_lock($1)", RELAY_LEASE.lock_key)
    async with pipe.relaying():
        await pipe.record(a_state())

        await pipe.taken(1, within=STALE_SECONDS + A_MOMENT)

    await silent.close()
