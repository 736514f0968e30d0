"""Look at both tables during a run, and at what the system says about them.

A difference may exist: an event is on its way, or a database has lost something. It must not exist
for long without a name, be it of the user or of the trouble that delays everything.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx

from tests.chaos.history import connected
from tests.chaos.stage import HEARTBEAT_SECONDS, Stage

EVERY_SECONDS: Final = 0.5

UNNAMED_SECONDS_MAX: Final = 25.0 - 15.0 + HEARTBEAT_SECONDS
"""A difference is named within 25 s with a heartbeat every 15 s; here heartbeats are faster."""

_USERS: Final = """
    SELECT id, version, status = 'deleted' AS deleted FROM users WHERE version > 0
"""
_UNPUBLISHED: Final = "SELECT user_id FROM outbox_events WHERE published_at IS NULL"
_PROOF: Final = """
    SELECT on_since IS NOT NULL AS is_on, differing, findings,
        extract(epoch FROM clock_timestamp() - proved_at) AS age
    FROM current_proof
"""


_AWAY: Final = (
    *(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,  # of a connection that breaks during a statement
)


@dataclass
class Watch:
    """Who has differed since when, and for how long without a name."""

    differing: dict[UUID, float] = field(default_factory=dict)
    """Users who differ, and since when they do so without having been named."""
    unnamed: dict[UUID, float] = field(default_factory=dict)
    """Users who have differed for too long without a name, and for how many seconds."""
    samples: int = 0

    def note(self, at: float, differing: set[UUID], named: set[UUID] | None) -> None:
        """Take a sample.

        Parameters:
            at: when, in seconds.
            differing: users whose rows differ.
            named: users who are named; None if the trouble as a whole is.
        """
        self.samples += 1
        for user in set(self.differing) - differing:
            del self.differing[user]
        for user in differing:
            if named is None or user in named:
                self.differing[user] = at
            since = self.differing.setdefault(user, at)
            if at - since > UNNAMED_SECONDS_MAX:
                self.unnamed[user] = at - since


async def watch(stage: Stage, into: Watch) -> None:
    """Look until cancelled; while a database is away there is nothing to look at."""
    async with httpx.AsyncClient(trust_env=False, timeout=0.5) as client:
        while True:
            try:
                differing, named = await _look(stage)
            except _AWAY:
                differing, named = set(into.differing), None
            if differing and named is not None and not await _all_ready(stage, client):
                named = None
            into.note(time.monotonic(), differing, named)
            await asyncio.sleep(EVERY_SECONDS)


async def _look(stage: Stage) -> tuple[set[UUID], set[UUID] | None]:
    """Return who differs, and who is named; None if nothing is proved at present."""
    databases = stage.machines.databases
    async with (
        connected(databases["blog"].direct_url) as replica,
        connected(databases["auth"].direct_url) as source,
    ):
        ours = {row["id"]: tuple(row) for row in await replica.fetch(_USERS)}
        proof = await replica.fetchrow(_PROOF)
        theirs = {row["id"]: tuple(row) for row in await source.fetch(_USERS)}
        unpublished = {row["user_id"] for row in await source.fetch(_UNPUBLISHED)}
    differing = {user for user in ours.keys() | theirs.keys() if ours.get(user) != theirs.get(user)}
    differing -= {user for user, row in ours.items() if user not in theirs and row[2]}
    if proof is None or _is_unproved(proof):
        return differing, None
    findings = json.loads(proof["findings"] or "[]")
    # The source's status shows the backlog, with its age.
    return differing, unpublished | {UUID(each["user_id"]) for each in findings}


def _is_unproved(proof: Any) -> bool:
    """Whether the status says that nothing is proved, or names more users than it lists."""
    if not proof["is_on"] or proof["age"] is None:
        return True
    differing = sum(json.loads(proof["differing"] or "{}").values())
    listed = len(json.loads(proof["findings"] or "[]"))
    return differing > listed or not proof["age"] <= 4 * HEARTBEAT_SECONDS


async def _all_ready(stage: Stage, client: httpx.AsyncClient) -> bool:
    names = [name for name in stage.processes if not name.endswith("api")]
    answers = await asyncio.gather(
        *(client.get(f"{stage.processes[name].url}/readyz") for name in names),
        return_exceptions=True,
    )
    return all(isinstance(each, httpx.Response) and each.status_code == 200 for each in answers)
