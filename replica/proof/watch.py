"""Make a proof with every heartbeat, inside the consumer process.

Guarantees: one proof at a time among all consumers of this replica, by a lock that ends with its
database session, and one for each heartbeat. It has a database connection of its own, so that
neither messages nor comparisons wait for it. A run is stored only if a proof repaired something, or
other users differ than before. While a whole comparison is due, because messages were lost or the
replica was emptied, no proof is made.

Not here: a single proof (``prove``), what it says to operators (``model``).
"""

import asyncio
import time
from dataclasses import replace
from typing import Final, Never
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from replica.certificates.obtain import Certifier
from replica.proof.current import (
    current,
    last_heartbeat,
    note_attempt,
    note_trouble,
    note_verdict,
    turn,
)
from replica.proof.model import (
    CurrentProof,
    age_max_seconds,
    interval_seconds,
    is_due,
    is_overdue,
    says_the_same,
)
from replica.proof.prove import Known, prove
from replica.reconcile import runs
from replica.reconcile.model import BY_ITSELF, DELETIONS_MAX, CouldNotCompare, Reason, by_kind
from replica.reconcile.schedule import NEVER, reason_due
from replica.reconcile.source import Source
from replica.settings import ConsumerSettings
from replica.table import Replica
from service_kit.database.engines import aside
from service_kit.database.locks import advisory_lock
from service_kit.database.rounds import repeat

log = structlog.get_logger()

LOOK_EVERY_SECONDS_MAX: Final = 1.0
"""A look is one small statement; its pause is part of the time until a difference is named."""

REQUEST_EVERY_SECONDS: Final = 3600.0
"""A comparison of whole tables corrects the digests. Where it cannot, once an hour is enough."""

LOCK_KEY: Final = 0x70726F6F66
""""proof" in ASCII: the advisory lock of the one who makes a proof."""


async def prove_continuously(
    replica: Replica, settings: ConsumerSettings, engine: AsyncEngine
) -> None:
    """Run until cancelled; without a source, or if proofs are turned off, only note that."""
    every = min(LOOK_EVERY_SECONDS_MAX, interval_seconds(settings.heartbeat_seconds_max) / 2)
    if not settings.makes_proofs:
        await repeat("proof", lambda: _stay_off(engine), every_seconds=every)
    own = aside(settings)
    try:
        async with Source(settings) as source:
            watch = _Watch(replica, settings, engine, own, source)
            await repeat("proof", watch.look, every_seconds=every)
    finally:
        await own.dispose()


async def _stay_off(engine: AsyncEngine) -> Never:
    async with engine.begin() as connection:
        await turn(connection, on=False)
    await asyncio.Event().wait()
    raise AssertionError


class _Watch:
    """One consumer's watch, with what it has told the log already."""

    def __init__(
        self,
        replica: Replica,
        settings: ConsumerSettings,
        engine: AsyncEngine,
        own: AsyncEngine,
        source: Source,
    ) -> None:
        self._replica = replica
        self._settings = settings
        self._engine = engine
        self._own = own
        self._source = source
        self._certifier = Certifier(replica, settings, source)
        self._is_on = False
        self._is_overdue = False
        self._began = time.monotonic()
        self._known: Known | None = None
        self._requested_until = 0.0

    async def look(self) -> None:
        """Make a proof if one is due."""
        if not self._is_on:
            async with self._engine.begin() as connection:
                await turn(connection, on=True)
            self._is_on = True
        async with self._engine.connect() as connection:
            due = await self._due(connection)
        if due is None:
            return
        async with advisory_lock(self._own, LOCK_KEY) as holder:
            if holder is None:
                return
            # Another consumer may have made it since the look.
            due = await self._due(holder)
            await holder.commit()
            if due is not None:
                await self._prove(holder, *due)

    async def _due(self, connection: AsyncConnection) -> tuple[CurrentProof, int, UUID] | None:
        """What a proof starts from: the last one, the last heartbeat, and the source to follow."""
        last = await current(connection)
        self._warn(last)
        heartbeat = await last_heartbeat(connection)
        longest = self._settings.heartbeat_seconds_max
        if heartbeat is None or not is_due(
            last, last_heartbeat=heartbeat, heartbeat_seconds_max=longest
        ):
            return None
        if await reason_due(self._replica, connection, NEVER) is not None:
            return None
        follows = await runs.source_followed(connection)
        return None if follows is None else (last, heartbeat, follows)

    async def _prove(
        self, connection: AsyncConnection, last: CurrentProof, heartbeat: int, follows: UUID
    ) -> None:
        async with connection.begin():
            began = await note_attempt(connection)
        try:
            found = await prove(
                self._replica,
                self._settings,
                connection,
                self._source,
                follows=follows,
                heartbeat=heartbeat,
                known=self._known,
            )
        except CouldNotCompare as error:
            why = str(error)
            async with connection.begin():
                await note_trouble(connection, why, covered=heartbeat)
            if why != last.trouble:
                log.warning("proof.no_verdict", explanation=why)
            return
        self._known = found.known
        if found.has_wrong_digests:
            await self._request_comparison(connection)
        proved = found.proved
        is_news = bool(found.tally.repaired) or not says_the_same(last.proved, proved)
        async with connection.begin():
            if is_news and found.comparison is not None:
                run_id = await runs.record(
                    connection,
                    reason=Reason.PROOF,
                    repairs=BY_ITSELF,
                    started_at=began,
                    comparison=found.comparison,
                )
                proved = replace(proved, run_id=run_id)
            elif last.proved is not None and proved.differing:
                proved = replace(proved, run_id=last.proved.run_id)
            await note_verdict(connection, proved, covered=found.covered)
        if is_news:
            tell = log.critical if proved.differing else log.info
            tell(
                "proof.compared",
                users=proved.users,
                differing=dict(proved.differing),
                repaired=by_kind(found.tally.repaired),
                in_flight=proved.in_flight,
            )
        if not proved.differing:
            await self._certifier.certify(connection, follows=follows, heartbeat=proved.heartbeat)

    async def _request_comparison(self, connection: AsyncConnection) -> None:
        """Have the maintained digests checked, which is part of a comparison of whole tables."""
        if time.monotonic() < self._requested_until:
            return
        self._requested_until = time.monotonic() + REQUEST_EVERY_SECONDS
        log.warning("proof.digests_differ")
        async with connection.begin():
            await runs.request(
                connection,
                reason=Reason.DIGESTS,
                requested_by=None,
                repairs=BY_ITSELF,
                deletions_max=DELETIONS_MAX,
            )

    def _warn(self, last: CurrentProof) -> None:
        """Raise the alarm once when the last proof becomes too old while this consumer runs."""
        longest = self._settings.heartbeat_seconds_max
        was = self._is_overdue
        had_time = time.monotonic() - self._began > age_max_seconds(longest)
        self._is_overdue = had_time and is_overdue(last, longest)
        if self._is_overdue and not was:
            log.critical("proof.overdue", age_seconds=last.age_seconds, trouble=last.trouble)
