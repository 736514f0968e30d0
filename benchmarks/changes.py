"""Change users at the source at a steady rate: sign-ups, changes and deletions.

Each is one transaction that changes the user's row and records the event, as the use cases do, but
in one statement of SQL: a sign-up over HTTP hashes a password for 25 ms.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import asyncpg

from auth_service.outbox.table import RELAY_LEASE
from benchmarks.stage import Stage, connect
from service_kit.process.tasks import end_tasks

WORKERS: Final = 24
"""A commit waits for the disk; so many of them wait at once."""

_LATE_SECONDS_MAX: Final = 0.5
"""What a busy machine delays by more than this is not made up for."""

_VERSION: Final = "greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"

_RECORD: Final = f"""
    , recorded AS (
        INSERT INTO outbox_events (type, user_id, version, occurred_at, payload)
        SELECT '{{type}}', changed.id, changed.version, now(), row_to_json(state) FROM changed
        CROSS JOIN LATERAL (SELECT {{fields}}) AS state
    )
    SELECT id, pg_notify('{RELAY_LEASE.channel}', '') FROM changed
"""  # noqa: S608 - made of constants

_LIVING: Final = ", ".join(
    f"changed.{name}"
    for name in (
        *("id", "version", "email", "email_verified", "roles", "status"),
        *("tokens_valid_after", "created_at", "updated_at"),
    )
)

_SIGN_UP: Final = """
    WITH changed AS (
        INSERT INTO users (version, email, password_hash)
        VALUES ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
                gen_random_uuid() || '@example.org', 'x')
        RETURNING *
    )
""" + _RECORD.format(type="user.created", fields=_LIVING)  # noqa: S608 - made of constants

_CHANGE: Final = f"""
    WITH changed AS (
        UPDATE users SET version = {_VERSION}, email_verified = NOT email_verified,
                         updated_at = now()
        WHERE id = $1 AND deleted_at IS NULL RETURNING *
    )
""" + _RECORD.format(type="user.updated", fields=_LIVING)  # noqa: S608 - made of constants

_DELETE: Final = f"""
    WITH changed AS (
        UPDATE users SET version = {_VERSION}, status = 'deleted', deleted_at = now(),
                         email = NULL, email_verified = false, password_hash = NULL, roles = '{{}}',
                         tokens_valid_after = NULL
        WHERE id = $1 AND deleted_at IS NULL RETURNING *
    )
""" + _RECORD.format(  # noqa: S608 - made of constants
    type="user.deleted", fields="changed.id, changed.version, changed.deleted_at"
)

_IDS: Final = "SELECT id FROM users WHERE deleted_at IS NULL AND {}"


class Changes:
    """Changes at ``rate`` a second; of ten, six change a user, three sign up, one deletes.

    Of the users who are there before, only those change that meet the condition ``among``, in SQL.
    """

    def __init__(self, stage: Stage, rate: int, *, among: str = "true") -> None:
        self._stage = stage
        self._among = among
        self._pause = 1 / rate
        self._next_at = 0.0
        self._ids: list[UUID] = []
        self._workers: list[asyncio.Task[None]] = []
        self._random = random.Random(12)  # noqa: S311 - which users change is no secret
        self.made = 0

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Change users inside the block."""
        connection = await connect(self._stage.auth_url)
        self._ids = [row["id"] for row in await connection.fetch(_IDS.format(self._among))]
        await connection.close()
        self._next_at = time.monotonic()
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        try:
            yield
        finally:
            await end_tasks(*self._workers)

    def require_all_at_work(self) -> None:
        """Raise the error of a worker that has failed."""
        for worker in self._workers:
            if worker.done():
                worker.result()

    async def _work(self) -> None:
        connection = await connect(self._stage.auth_url)
        try:
            while True:
                now = time.monotonic()
                at = max(self._next_at, now - _LATE_SECONDS_MAX)
                self._next_at = at + self._pause
                await asyncio.sleep(at - now)
                await self._change(connection)
                self.made += 1
        finally:
            connection.terminate()

    async def _change(self, connection: asyncpg.Connection) -> None:
        what = self._random.randrange(10)
        if what < 3:
            self._ids.append(await connection.fetchval(_SIGN_UP))
            return
        place = self._random.randrange(len(self._ids))
        if what < 9:
            await connection.execute(_CHANGE, self._ids[place])
        else:
            self._ids[place], self._ids[-1] = self._ids[-1], self._ids[place]
            await connection.execute(_DELETE, self._ids.pop())
