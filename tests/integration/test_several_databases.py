"""An address with two PostgreSQL servers, of which one is a standby, survives a failover."""

import asyncio
import time
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import DatabaseSettings
from service_kit.database.alone import ping
from service_kit.database.away import DATABASE_AWAY
from service_kit.database.engines import CONNECT_TIMEOUT_SECONDS, pooled
from tests.support.databases import migrate
from tests.support.eventually import eventually
from tests.support.processes import run
from tests.support.proxy import proxy_to
from tests.support.standby import PORT, replicated, sockets_of

FAILOVER_SECONDS_MAX = 10.0
"""A promotion takes a second or two on a busy machine; nothing waits for an address to move."""


async def test_the_primary_is_found_before_and_after_a_failover(tmp_path: Path) -> None:
    """Written as libpq does. The standby comes first, and is never used while it is one."""
    async with (
        replicated("auth") as database,
        proxy_to(sockets_of(database.standby.server), PORT) as standby,
        proxy_to(sockets_of(database.primary.server), PORT) as primary,
    ):
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        url = f"postgresql://postgres@{hosts}/auth"
        engine = pooled(DatabaseSettings(_env_file=None, database_url=url))
        await ping(engine)
        assert await _port(engine) == primary.port

        await asyncio.to_thread(migrate, "auth", url)
        told = await asyncio.to_thread(
            run, "auth-service status", {"AUTH_DATABASE_URL": url}, tmp_path
        )
        assert told.returncode == 0, told.stderr

        standby.swallow_answers()
        began = time.monotonic()
        await engine.dispose()
        await ping(engine)
        assert time.monotonic() - began < CONNECT_TIMEOUT_SECONDS
        standby.swallow_answers(False)

        began = time.monotonic()
        await database.fail_over()
        await eventually(lambda: _is_writable(engine))
        seconds = time.monotonic() - began
        assert await _port(engine) == standby.port
        print(f"writable {seconds:.1f} s after the primary was killed")
        assert seconds < FAILOVER_SECONDS_MAX
        await engine.dispose()


async def _is_writable(engine: AsyncEngine) -> bool:
    try:
        await ping(engine)
    except DATABASE_AWAY:
        return False
    return True


async def _port(engine: AsyncEngine) -> int:
    """Return the port of this machine that the pool's session goes to."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        driver = (await connection.get_raw_connection()).driver_connection
        address: tuple[str, int] = driver._transport.get_extra_info("peername")  # type: ignore[union-attr]
        return address[1]
