"""Give one process at a time a task, by a lease, and wake it when there is work.

Any number of processes may run a task such as the relay. The leader is the one whose database
session holds the task's advisory lock. The lock is a lease: it ends with the session, and the
server ends a session that was idle for ``LEASE_SECONDS``. The leader renews it by touching its
session every few seconds. So another process takes over within a second or two of a clean exit, and
within seconds of a process that froze or whose session something else keeps open.

Guarantees: the leader reads and writes on the session that holds the lock, so a process that lost
the lock cannot continue. No wake-up is lost, because LISTEN starts before the leader's first read.
A waiting process holds no snapshot, and causes no entries in the server's log.

Not here: a lock for a single piece of work (``locks``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, case, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_kit.database.away import DATABASE_AWAY
from service_kit.database.engines import GRACE_SECONDS, Database, unpooled
from service_kit.database.sessions import Session
from service_kit.process.tasks import end_tasks

log = structlog.get_logger()

LEASE_SECONDS: Final = 10
"""The server ends the leader's session after this long without a statement."""

RENEW_SECONDS: Final = 3.0
"""How long the leader leaves its session untouched at most."""

ACQUIRE_SECONDS: Final = 1.0
"""How often a waiting process tries to acquire the lease."""

STALE_SECONDS: Final = LEASE_SECONDS + 5
"""A waiting process ends a session that holds the lease and has not changed its state for so long.
The server does not count a session as idle while it waits for a frozen client to read a result."""

LOCK_TIMEOUT_MS: Final = 500
"""How long the leader waits for a locked row at most, so that one row cannot block its task."""

NOTIFY_QUEUE_MAX: Final = 0.5
"""Highest fill level of PostgreSQL's notification queue at which to wake a leader. Between this
check and the commit, others add far less."""

_LIMITS: Final = {
    "idle_session_timeout": f"{LEASE_SECONDS}s",
    # If the leader's machine vanishes, its session ends in about 10 s, and the lease with it.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{LEASE_SECONDS}s",
}

_HOLDERS = """
    FROM pg_locks JOIN pg_stat_activity AS session USING (pid)
    WHERE locktype = 'advisory' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid = :high AND objid = :low AND objsubid = 1
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """A task that one process does at a time.

    ``lock_key`` is its advisory lock, ``application_name`` the name of the leader's session, and
    ``channel`` the NOTIFY channel that wakes the leader. ``settings`` are further settings that the
    task's statements rely on.
    """

    lock_key: int
    application_name: str
    channel: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def wake(self) -> ColumnElement[Any]:
        """Build the expression that wakes the leader on commit when a statement evaluates it.

        This is best effort. PostgreSQL refuses a commit when its notification queue is full. Any
        session in any database of the server can fill that queue: it listens, and then sleeps in a
        transaction. So a notification is sent only while the queue has plenty of room. Without it,
        the leader finds the new row by polling, a few seconds later.
        """
        has_room = func.pg_notification_queue_usage() < NOTIFY_QUEUE_MAX
        return case((has_room, func.pg_notify(self.channel, "")))


class Leader:
    """The session that holds a lease (autocommit), and an event that each wake-up sets."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.woken = asyncio.Event()
        self._turn = asyncio.Lock()
        self._used = time.monotonic()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncConnection]:
        """Lend the session for the block; renewing the lease waits until the block ends."""
        async with self._turn:
            yield self.connection
            self._used = time.monotonic()

    async def wait(self, *, until: float) -> None:
        """Sleep until a wake-up, or until the monotonic clock reaches ``until`` (seconds)."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self.woken.wait()
        except TimeoutError:
            pass

    async def renew(self) -> None:
        """Touch the session whenever it is unused, until it is lost; then wake the leader."""
        try:
            while True:
                idle = time.monotonic() - self._used
                if idle < RENEW_SECONDS:
                    await asyncio.sleep(RENEW_SECONDS - idle)
                    continue
                async with self.session() as connection:
                    await connection.execute(select(literal(1)))
        except DATABASE_AWAY:
            self.woken.set()


@asynccontextmanager
async def hold(settings: Database, lease: Lease) -> AsyncIterator[Leader]:
    """Wait until this process acquires ``lease``, and hold it inside the block.

    Raises:
        DBAPIError, OSError: the database is away, before or inside the block.
    """
    statement_ms = min(settings.statement_timeout_ms, LEASE_SECONDS * 1000)
    engine = unpooled(
        settings.database_url,
        Session(
            lease.application_name,
            settings.database_schema,
            statement_ms=statement_ms,
            lock_ms=min(settings.lock_timeout_ms, LOCK_TIMEOUT_MS),
            idle_in_transaction_ms=LEASE_SECONDS * 1000,
            others={**_LIMITS, **lease.settings},
            is_own=True,
        ),
        command_seconds=statement_ms / 1000 + GRACE_SECONDS,
        isolation_level="AUTOCOMMIT",
    )
    async with engine.connect() as connection:
        await _acquire(connection, lease)
        leader = Leader(connection)
        await _listen(leader, lease.channel)
        renewing = asyncio.create_task(leader.renew())
        try:
            yield leader
        finally:
            await end_tasks(renewing)


async def is_held(connection: AsyncConnection, lease: Lease) -> bool:
    """Return whether any process holds ``lease`` at the moment."""
    held = text(f"SELECT EXISTS (SELECT {_HOLDERS})").bindparams(**_halves(lease.lock_key))
    return bool(await connection.scalar(held))


async def _acquire(connection: AsyncConnection, lease: Lease) -> None:
    """Try until the lock is ours; end a stale session that holds it."""
    stale = text(
        f"SELECT pid {_HOLDERS} AND application_name = :name"
        " AND clock_timestamp() - state_change > make_interval(secs => :seconds)"
    ).bindparams(
        name=lease.application_name, seconds=float(STALE_SECONDS), **_halves(lease.lock_key)
    )
    while not await connection.scalar(select(func.pg_try_advisory_lock(lease.lock_key))):
        for pid in (await connection.scalars(stale)).all():
            log.warning("lease.terminated", duty=lease.application_name, pid=pid)
            await connection.execute(select(func.pg_terminate_backend(pid)))
        await asyncio.sleep(ACQUIRE_SECONDS)


def _halves(lock_key: int) -> dict[str, int]:
    """Split the key of an advisory lock as ``pg_locks`` shows it."""
    return {"high": lock_key >> 32, "low": lock_key & 0xFFFFFFFF}


async def _listen(leader: Leader, channel: str) -> None:
    """Have notifications, and the loss of the session, wake the leader."""
    raw = (await leader.connection.get_raw_connection()).driver_connection
    assert raw is not None  # it was connected a moment ago
    await raw.add_listener(channel, lambda *_: leader.woken.set())
    raw.add_termination_listener(lambda *_: leader.woken.set())
