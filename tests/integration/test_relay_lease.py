"""The active relay has a lease: a silent relay loses it, and another takes over."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from auth_service.outbox.table import RELAY_LEASE
from auth_service.settings import RelaySettings
from service_kit.database.lease import LEASE_SECONDS, STALE_SECONDS
from tests.support.builders import a_state
from tests.support.eventually import eventually
from tests.support.relaying import Pipe
from tests.support.system import Member, relay_process

A_MOMENT = 8.0
"""Seconds on top of a limit, for a busy machine."""


@pytest.fixture
async def process(relay_settings: RelaySettings, tmp_path: Path) -> AsyncIterator[Member]:
    with relay_process(relay_settings, tmp_path) as process:
        await process.ready()
        yield process


async def test_a_frozen_relay_is_replaced_and_waits_afterwards(pipe: Pipe, process: Member) -> None:
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


async def test_an_idle_relay_keeps_its_lease(pipe: Pipe, unused_port: int) -> None:
    """Also while the broker is away, when the relay has no statement to run for a long time."""
    away = f"amqp://127.0.0.1:{unused_port}/"
    async with pipe.relaying(amqp_url=away, retry_seconds_max=3600.0):
        first = await eventually(pipe.leader)
        [began] = await pipe.fetch("SELECT clock_timestamp() AS at")

        async def is_long_ago() -> bool:
            assert await pipe.leader() == first
            past = f"clock_timestamp() > CAST(:at AS timestamptz) + interval '{LEASE_SECONDS + 2}s'"
            return bool(await pipe.fetch(f"SELECT 1 WHERE {past}", at=began.at))

        await eventually(is_long_ago, within=LEASE_SECONDS + A_MOMENT, every=0.2)


async def test_a_stale_session_that_the_server_keeps_is_terminated(pipe: Pipe) -> None:
    """For example a session in which the server waits for a frozen client to read."""
    silent = await asyncpg.connect(
        pipe.settings.database_url.replace("+asyncpg", ""),
        server_settings={"application_name": "auth-service relay", "idle_session_timeout": "0"},
    )
    await silent.fetchval("SELECT pg_advisory_lock($1)", RELAY_LEASE.lock_key)
    async with pipe.relaying():
        await pipe.record(a_state())

        await pipe.taken(1, within=STALE_SECONDS + A_MOMENT)

    await silent.close()
