"""Make one relay active, and wake it.

Any number of relays may run. The one whose database session holds an advisory lock is active. The
lock is a lease: it ends with the session, and the server ends a session that was idle for
``LEASE_SECONDS``, which the active one is not, for it touches its session every few seconds. So
another takes over within a second or two of a clean end, and within seconds of a process that
froze or whose session something else keeps open. Other work of the relay process that only one may
do at a time has a lock of its own (``Duty``).

Guarantees: the active relay claims and marks on that same session, so that one which lost the lock
cannot go on; no wake-up is lost, for LISTEN starts before the first claim; a relay in waiting holds
no snapshot, and has the server log nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import WAKE_UP_CHANNEL
from auth_service.settings import DatabaseSettings
from service_kit.database.away import DATABASE_AWAY
from service_kit.database.engines import GRACE_SECONDS, unpooled
from service_kit.database.sessions import Session
from service_kit.process.tasks import end_tasks

log = structlog.get_logger()

LOCK_KEY: Final = 0x7573657273796E63
""""usersync" in ASCII: which advisory lock of the auth database is the relay's."""

LEASE_SECONDS: Final = 10
"""After that long without a statement the server ends the session of the active one."""

TOUCH_SECONDS: Final = 3.0
"""How long the active one leaves its session alone at the most."""

ASK_SECONDS: Final = 1.0
"""How often a relay in waiting asks for the lock."""

SILENT_SECONDS: Final = LEASE_SECONDS + 5
"""A session that has not changed its state for so long, and still has the lock, is ended by a relay
in waiting. The server does not count a session as idle while it waits for a frozen process to read
an answer."""

LOCK_TIMEOUT_MS: Final = 500
"""The active one waits no longer for a row that somebody holds: it sets that row aside."""

_LIMITS: Final = {
    "idle_session_timeout": f"{LEASE_SECONDS}s",
    # The session of a relay whose machine vanished ends, and with it the lock, in about 10 s.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{LEASE_SECONDS}s",
}

_LEADING = """
    FROM pg_locks JOIN pg_stat_activity AS session USING (pid)
    WHERE locktype = 'advisory' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid = :high AND objid = :low AND objsubid = 1
"""


@dataclass(frozen=True, slots=True)
class Duty:
    """What one process does at a time: its advisory lock, who does it, and what wakes them."""

    lock_key: int
    application_name: str
    channel: str


RELAYING: Final = Duty(LOCK_KEY, "auth-service relay", WAKE_UP_CHANNEL)


class Leader:
    """The session of the active one (autocommit), and the event set by each wake-up."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.woken = asyncio.Event()
        self._turn = asyncio.Lock()
        self._used = time.monotonic()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncConnection]:
        """The session, for statements of one's own: it is touched by another task meanwhile."""
        async with self._turn:
            yield self.connection
            self._used = time.monotonic()

    async def wait(self, *, until: float) -> None:
        """Sleep until a wake-up, or until the clock (monotonic seconds) reaches ``until``."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self.woken.wait()
        except TimeoutError:
            pass

    async def keep(self) -> None:
        """Touch the session whenever nobody else does, until it is lost, which wakes its owner."""
        try:
            while True:
                idle = time.monotonic() - self._used
                if idle < TOUCH_SECONDS:
                    await asyncio.sleep(TOUCH_SECONDS - idle)
                    continue
                async with self.session() as connection:
                    await connection.execute(select(literal(1)))
        except DATABASE_AWAY:
            self.woken.set()


@asynccontextmanager
async def lead(settings: DatabaseSettings, duty: Duty = RELAYING) -> AsyncIterator[Leader]:
    """Wait until this process is the one that has the duty, and be it inside the block.

    Raises:
        DBAPIError, OSError: the database is away, before or inside the block.
    """
    statement_ms = min(settings.statement_timeout_ms, LEASE_SECONDS * 1000)
    engine = unpooled(
        settings.database_url,
        Session(
            duty.application_name,
            settings.database_schema,
            statement_ms=statement_ms,
            lock_ms=min(settings.lock_timeout_ms, LOCK_TIMEOUT_MS),
            idle_in_transaction_ms=LEASE_SECONDS * 1000,
            others=_LIMITS,
        ),
        command_seconds=statement_ms / 1000 + GRACE_SECONDS,
        isolation_level="AUTOCOMMIT",
    )
    async with engine.connect() as connection:
        await _acquire(connection, duty)
        leader = Leader(connection)
        await _listen(leader, duty.channel)
        keeping = asyncio.create_task(leader.keep())
        try:
            yield leader
        finally:
            await end_tasks(keeping)


async def is_led(connection: AsyncConnection) -> bool:
    """Whether some relay is active at the moment."""
    held = text(f"SELECT EXISTS (SELECT {_LEADING})").bindparams(**_halves(LOCK_KEY))
    return bool(await connection.scalar(held))


async def _acquire(connection: AsyncConnection, duty: Duty) -> None:
    """Ask until the lock is ours; a session that has it and is silent is ended."""
    silent = text(
        f"SELECT pid {_LEADING} AND application_name = :name"
        " AND clock_timestamp() - state_change > make_interval(secs => :seconds)"
    ).bindparams(
        name=duty.application_name, seconds=float(SILENT_SECONDS), **_halves(duty.lock_key)
    )
    while not await connection.scalar(select(func.pg_try_advisory_lock(duty.lock_key))):
        for pid in (await connection.scalars(silent)).all():
            log.warning("lease.terminated", duty=duty.application_name, pid=pid)
            await connection.execute(select(func.pg_terminate_backend(pid)))
        await asyncio.sleep(ASK_SECONDS)


def _halves(lock_key: int) -> dict[str, int]:
    """How ``pg_locks`` shows the key of an advisory lock."""
    return {"high": lock_key >> 32, "low": lock_key & 0xFFFFFFFF}


async def _listen(leader: Leader, channel: str) -> None:
    raw = (await leader.connection.get_raw_connection()).driver_connection
    assert raw is not None  # it was connected a moment ago
    await raw.add_listener(channel, lambda *_: leader.woken.set())
    # A lost session wakes its owner as well, so that it notices at once.
    raw.add_termination_listener(lambda *_: leader.woken.set())
