"""Detect abandoned runs: a run is alive while its worker's session holds an advisory lock.

Guarantees: the worker, a consumer or the command, holds the lock for the whole run; a worker that
died holds none. Locks are read before runs, so that a run which ends in between is read as ended.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from replica.reconcile import runs
from replica.reconcile.model import State, state, why_no_verdict
from replica.reconcile.runs import Run
from service_kit.database.locks import advisory_lock

LOCK_CLASS: Final = 0x72756E73
""""runs" in ASCII: the class of the advisory locks; beside it the id's last four bytes."""

_LOOK: Final = text(
    "SELECT clock_timestamp() AS now, array(SELECT objid::bigint FROM pg_locks"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = :lock_class"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS keys"
).bindparams(lock_class=LOCK_CLASS)


@dataclass(frozen=True, slots=True)
class RunLocks:
    """The runs in progress at one moment, by their locks."""

    now: datetime
    keys: frozenset[int]

    def state(self, run: Run) -> State:
        """What has become of a run that was read after this look."""
        begun = run.started_at
        return state(
            has_ended=run.finished_at is not None,
            waited_seconds=(self.now - run.requested_at).total_seconds(),
            running_seconds=None if begun is None else (self.now - begun).total_seconds(),
            is_at_work=_key(run.id) in self.keys,
        )


async def look_at_locks(connection: AsyncConnection) -> RunLocks:
    """Look at the locks; read runs after it."""
    row = (await connection.execute(_LOOK)).one()
    return RunLocks(row.now, frozenset(row.keys))


@asynccontextmanager
async def hold(engine: AsyncEngine, run_id: UUID) -> AsyncIterator[None]:
    """Hold a run's lock inside the block, on a session of its own."""
    async with advisory_lock(engine, LOCK_CLASS, _signed(_key(run_id)), waits=True):
        yield


async def end_abandoned(engine: AsyncEngine, *, command: str) -> Sequence[Run]:
    """End runs that were abandoned or not started in time; return them."""
    async with engine.begin() as connection:
        seen = await look_at_locks(connection)
        found = [(run, seen.state(run)) for run in await runs.unfinished(connection)]
        return [
            await runs.give_up(connection, run.id, why)
            for run, became in found
            if (why := why_no_verdict(became, command)) is not None
        ]


def _key(run_id: UUID) -> int:
    return run_id.int & 0xFFFF_FFFF


def _signed(key: int) -> int:
    """As PostgreSQL's integer."""
    return key - 2**32 if key >= 2**31 else key
