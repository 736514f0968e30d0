"""Compare and repair by itself, inside the consumer process.

It is done when the replica was never compared or has been emptied, when heartbeats show that
messages were lost, when it is requested over HTTP, and on a schedule.

Guarantees: one run at a time among all consumers of this replica, by a lock that ends with its
database session; a run that could not compare is made again, after longer and longer pauses; the
watch never ends on its own, and live events do not wait for it. Runs that were abandoned, or
not started in time, are ended.
"""

import asyncio
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from replica.reconcile import runs
from replica.reconcile.model import (
    DELETIONS_MAX,
    Reason,
    Verdict,
    repaired_by_itself,
)
from replica.reconcile.run import run
from replica.reconcile.run_locks import end_abandoned
from replica.reconcile.runs import Run
from replica.reconcile.schedule import reason_due
from replica.settings import ConsumerSettings
from replica.table import Replica
from service_kit.database.locks import advisory_lock
from service_kit.database.rounds import repeat
from service_kit.process.backoff import backoff_seconds

log = structlog.get_logger()

LOOK_EVERY_SECONDS: Final = 2.0
"""A look costs five small statements; a gap should not wait for its repair."""

RETRY_SECONDS_MIN: Final = 2.0
RETRY_SECONDS_MAX: Final = 60.0
"""Between two tries while there is no verdict."""

JITTER: Final = 0.1
"""Consumers of many replicas that started together should not ask the source together."""

LOCK_KEY: Final = 0x7265636F6E63696C
""""reconcil" in ASCII: the advisory lock of the one who compares."""


@dataclass(slots=True)
class _Patience:
    """When the next try may be made."""

    failures: int = 0
    until: float = 0.0
    every: float = 1.0  # the jitter of this period

    def note(self, ended: Run) -> None:
        if ended.verdict is Verdict.COULD_NOT_COMPARE:
            self.failures += 1
            self.until = time.monotonic() + backoff_seconds(
                self.failures, shortest=RETRY_SECONDS_MIN, longest=RETRY_SECONDS_MAX
            )
        else:
            self.failures, self.until = 0, 0.0
        self.every = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret


async def watch(replica: Replica, settings: ConsumerSettings, engine: AsyncEngine) -> None:
    """Run until cancelled; without a source to compare with, do nothing."""
    if not settings.can_reconcile:
        names = ("auth_url", "service_id", "api_key")
        log.warning("reconcile.not_set_up", remedy=", ".join(map(settings.variable, names)))
        await asyncio.Event().wait()
    patience = _Patience()
    look = partial(_look, replica, settings, engine, patience)
    await repeat("reconcile", look, every_seconds=LOOK_EVERY_SECONDS)


async def _look(
    replica: Replica, settings: ConsumerSettings, engine: AsyncEngine, patience: _Patience
) -> None:
    every_seconds = settings.reconcile_every_seconds * patience.every
    for abandoned in await end_abandoned(engine, command=replica.command):
        _tell(abandoned)
    async with engine.connect() as connection:
        waiting = await runs.first_waiting(connection)
        reason = await reason_due(replica, connection, every_seconds)
    if waiting is None and (reason is None or time.monotonic() < patience.until):
        return
    async with advisory_lock(engine, LOCK_KEY) as holder:
        if holder is None:
            return
        # Another consumer may have done it since the look.
        async with engine.begin() as connection:
            begun = await _begin(replica, connection, every_seconds)
        if begun is not None:
            ended = await run(replica, settings, engine, begun)
            _tell(ended)
            patience.note(ended)


async def _begin(replica: Replica, connection: AsyncConnection, every_seconds: float) -> Run | None:
    waiting = await runs.first_waiting(connection)
    if waiting is None:
        reason = await reason_due(replica, connection, every_seconds)
        if reason is None:
            return None
        waiting = await runs.request(
            connection,
            reason=reason,
            requested_by=None,
            repairs=repaired_by_itself(reason),
            deletions_max=DELETIONS_MAX,
        )
    return await runs.start(connection, waiting)


def _tell(ended: Run) -> None:
    """Write down what came of a run; drift, and numbers that ran backwards, are alarms."""
    if ended.verdict is Verdict.COULD_NOT_COMPARE:
        log.warning("reconcile.no_verdict", reason=ended.reason, explanation=ended.explanation)
        return
    is_well = ended.verdict is Verdict.IN_STEP and ended.reason is not Reason.BACKWARDS
    tell = log.info if is_well else log.critical
    tell(
        "reconcile.compared",
        reason=ended.reason,
        verdict=ended.verdict,
        users=ended.compared,
        differing=ended.differing,
        repaired=ended.repaired,
        in_flight=ended.in_flight,
    )
