"""Make one relay active, and wake it.

Any number of relays may run. The one whose database session holds an advisory lock is active; the
lock ends with the session, so another takes over the moment that the active one dies. Other work of
the relay process that only one may do at a time has a lock of its own (``Duty``).

Guarantees: the active relay claims and marks on that same session, so that one which lost the lock
cannot go on; no commit's wake-up is lost, for LISTEN starts before the first claim.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import WAKE_UP_CHANNEL
from auth_service.settings import DatabaseSettings
from service_kit.database.engines import GRACE_SECONDS, unpooled
from service_kit.database.sessions import Session

LOCK_KEY: Final = 0x7573657273796E63
""""usersync" in ASCII: which advisory lock of the auth database is the relay's."""

LOCK_WAIT_SECONDS: Final = 10
"""A session that waits for a lock holds a snapshot, which keeps vacuum from removing dead rows of
a busy log; so a relay in waiting asks anew from time to time."""

_LOCK_NOT_AVAILABLE: Final = "55P03"

_KEEPALIVE: Final = {
    # The session of a relay whose machine vanished ends, and with it the lock, in about 10 s.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


@dataclass(frozen=True, slots=True)
class Duty:
    """What one process does at a time: its advisory lock, who does it, and what wakes him."""

    lock_key: int
    application_name: str
    channel: str


RELAYING: Final = Duty(LOCK_KEY, "auth-service relay", WAKE_UP_CHANNEL)


@dataclass(frozen=True, slots=True)
class Leader:
    """The session of the active one (autocommit), and the event set by each wake-up."""

    connection: AsyncConnection
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, *, until: float) -> None:
        """Sleep until a wake-up, or until the clock (monotonic seconds) reaches ``until``."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self.woken.wait()
        except TimeoutError:
            pass


@asynccontextmanager
async def lead(settings: DatabaseSettings, duty: Duty = RELAYING) -> AsyncIterator[Leader]:
    """Wait until this process is the one that has the duty, and be it inside the block.

    Raises:
        DBAPIError, OSError: the database is away, before or inside the block.
    """
    engine = unpooled(
        settings.database_url,
        Session(
            duty.application_name,
            settings.database_schema,
            statement_ms=0,
            lock_ms=LOCK_WAIT_SECONDS * 1000,
            idle_in_transaction_ms=0,
            others=_KEEPALIVE,
        ),
        command_seconds=LOCK_WAIT_SECONDS + GRACE_SECONDS,
        isolation_level="AUTOCOMMIT",
    )
    async with engine.connect() as connection:
        await _acquire(connection, duty.lock_key)
        limit = f"{settings.statement_timeout_ms}ms"
        await connection.execute(select(func.set_config("statement_timeout", limit, False)))
        leader = Leader(connection)
        await _listen(leader, duty.channel)
        yield leader


async def is_led(connection: AsyncConnection) -> bool:
    """Whether some relay is active at the moment."""
    held = text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND classid = :high AND objid = :low AND objsubid = 1)"
    ).bindparams(high=LOCK_KEY >> 32, low=LOCK_KEY & 0xFFFFFFFF)
    return bool(await connection.scalar(held))


async def _acquire(connection: AsyncConnection, lock_key: int) -> None:
    while True:
        try:
            await connection.execute(select(func.pg_advisory_lock(lock_key)))
            return
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise


async def _listen(leader: Leader, channel: str) -> None:
    raw = (await leader.connection.get_raw_connection()).driver_connection
    assert raw is not None  # it was connected a moment ago
    await raw.add_listener(channel, lambda *_: leader.woken.set())
    # A lost session wakes its owner as well, so that it notices at once.
    raw.add_termination_listener(lambda *_: leader.woken.set())
