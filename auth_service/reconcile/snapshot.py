"""Read all users, or compute their digests, at one moment, for replicas that compare themselves.

Reading all users takes seconds. So it has connections apart from those of other requests, few at a
time, with limits of their own.

Guarantees: everything that one ``Snapshot`` reads is of one snapshot (repeatable read) of the
primary. When the client disconnects, the statement ends in the database too, and its place is free
for the next client at once.

Not here: the response format (``contracts.sync.comparison``), and the comparison (``replica``).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.reconcile.table import USERS
from auth_service.settings import ApiSettings
from contracts.sync.digest import BUCKETS
from contracts.sync.digest_sql import bucket_sql
from service_kit.database.digests.check import Correction, correct_digests
from service_kit.database.digests.read import CheckedDigests, check_digests
from service_kit.database.engines import GRACE_SECONDS, unpooled
from service_kit.database.sessions import Session
from service_kit.http import problems
from service_kit.http.problems import Problem

BUSY_RETRY_SECONDS: Final = "5"
"""About the duration of a response."""

_ABOUT: Final = text(
    "SELECT identity, now() AS taken_at, pg_is_in_recovery() AS is_copy FROM source"
)

# One pass over the users; PostgreSQL makes each a line of JSON. The ids of unpublished events are
# collected once and joined: a look-up in the log per user would take minutes.
_LINES: Final = """
    SELECT CASE WHEN unpublished.user_id IS NULL THEN line
                ELSE left(line, -1) || ',"unpublished":true}}' END
    FROM (
        SELECT users.id AS user_id,
               CASE WHEN users.deleted_at IS NULL THEN row_to_json(living)
                    ELSE row_to_json(tombstone) END::text AS line
        FROM users
        CROSS JOIN LATERAL (
            SELECT users.id, users.version, users.email, users.email_verified, users.roles,
                   users.status, users.tokens_valid_after, users.created_at, users.updated_at
        ) AS living
        CROSS JOIN LATERAL (SELECT users.id, users.version, users.deleted_at) AS tombstone
        {condition}
    ) AS lines
    LEFT JOIN (
        SELECT DISTINCT user_id FROM outbox_events
        WHERE published_at IS NULL AND user_id IS NOT NULL
    ) AS unpublished USING (user_id)
"""

# JSON contains neither character, so COPY never quotes a line.
_AS_IT_IS: Final = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}

Sink = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All users at one moment.

    ``source`` is the source's identity; ``taken_at`` is its clock just before the moment.
    """

    source: UUID
    taken_at: datetime
    _connection: AsyncConnection

    async def check_digests(self) -> CheckedDigests:
        """Compute the digests from all users, and check the maintained ones."""
        return await check_digests(self._connection, USERS)

    async def copy_lines(self, buckets: Sequence[range], sink: Sink) -> None:
        """Write the users of ``buckets`` to ``sink``, as lines of JSON in blocks of some kilobytes.

        Reading from the database waits for ``sink``.
        """
        raw = (await self._connection.get_raw_connection()).driver_connection
        assert raw is not None  # it has run a statement
        await raw.copy_from_query(lines_sql(buckets), output=sink, **_AS_IT_IS)


class Snapshots:
    """Takes snapshots, at most ``reconcile_at_once_max`` at the same time."""

    def __init__(self, settings: ApiSettings) -> None:
        self._free = settings.reconcile_at_once_max
        self._seconds_max = settings.reconcile_seconds_max
        self._writing = unpooled(
            settings.database_url,
            Session(
                "auth-service reconcile",
                settings.database_schema,
                statement_ms=round(settings.reconcile_seconds_max * 1000),
                lock_ms=settings.lock_timeout_ms,
                idle_in_transaction_ms=2 * settings.statement_timeout_ms,
                others={
                    # JIT compilation costs more than it saves on a statement of one second.
                    "jit": "off",
                    # Never loop over the log, even if its statistics are out of date.
                    "enable_nestloop": "off",
                },
            ),
        )
        self._reading = self._writing.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Snapshot]:
        """Take a snapshot, which ends with the block.

        Raises:
            Problem: 503 at the limit of concurrent snapshots, or if the database is a standby,
                which may lag.
            TimeoutError: the block takes longer than ``reconcile_seconds_max``.
        """
        if self._free == 0:
            raise Problem(problems.BUSY, headers={"Retry-After": BUSY_RETRY_SECONDS})
        self._free -= 1
        try:
            # The server's own limit comes first, unless the server is silent.
            async with asyncio.timeout(self._seconds_max + GRACE_SECONDS), self._connected() as it:
                yield it
        finally:
            self._free += 1

    async def correct_digests(self) -> Correction:
        """Correct the maintained digests, which a snapshot found to be wrong."""
        async with self._writing.connect() as connection:
            return await correct_digests(connection, USERS)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Snapshot]:
        async with self._reading.connect() as connection:
            try:
                about = await about_primary(connection)
                yield Snapshot(about.identity, about.taken_at, connection)
            except BaseException:
                # A statement may be running: end it on the server, and close the connection.
                await connection.invalidate()
                raise


async def about_primary(connection: AsyncConnection) -> Row[Any]:
    """Read the source's ``identity``, and ``taken_at``, the clock of this transaction.

    Raises:
        Problem: 503 if the database is a standby.
    """
    about: Row[Any] = (await connection.execute(_ABOUT)).one()
    if about.is_copy:
        raise Problem(problems.UNAVAILABLE, "this database is not a primary")
    return about


def lines_sql(buckets: Sequence[range]) -> str:
    """Build the SQL for the users of ``buckets``, one line each.

    All buckets are read by a scan of the table, fewer by their index.
    """
    wanted = [bucket for part in buckets for bucket in part]
    if len(wanted) == BUCKETS:
        return _LINES.format(condition="")
    numbers = ",".join(map(str, wanted))
    return _LINES.format(condition=f"WHERE {bucket_sql()} = ANY ('{{{numbers}}}'::int[])")
