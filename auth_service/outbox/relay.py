"""Publish recorded events to RabbitMQ, in order per user.

Step 3 of 6.

Guarantees: an event is marked published only after the broker confirmed it, so a crash repeats an
event and never loses one; at most one event of a user is unconfirmed, so a refusal cannot turn two
of them round; one relay is active and another takes over at once; an idle relay waits for a commit
instead of polling; with the broker away everything stays recorded, and follows later.

Not here: deciding what to publish (``users``), being the active one (``leadership``).
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

import structlog
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.db import DATABASE_AWAY, DATABASE_ERRORS
from auth_service.outbox import metrics
from auth_service.outbox.backlog import head, mark_published, waves
from auth_service.outbox.heartbeat import record_heartbeat
from auth_service.outbox.leadership import Leader, lead
from auth_service.outbox.publisher import Outcome, Publisher, publisher
from auth_service.outbox.table import source
from auth_service.settings import RelaySettings
from contracts.backoff import pause_seconds
from service_kit.broker import BROKER_ERRORS, in_words

log = structlog.get_logger()

_TROUBLE = {
    Outcome.RETURNED: "no queue is bound to the exchange",
    Outcome.NACKED: "a queue refuses events: it is full",
    Outcome.UNCONFIRMED: "the broker does not confirm",
}


@dataclass(frozen=True, slots=True)
class RelayRound:
    """What one round did: events looked at, taken out as erased, and outcomes of the others."""

    claimed: int
    erased: int
    outcomes: Counter[Outcome]

    @property
    def refused(self) -> Outcome | None:
        """The worst that happened to an event, or None when all were confirmed."""
        worst = (Outcome.UNCONFIRMED, Outcome.RETURNED, Outcome.NACKED)
        return next((outcome for outcome in worst if self.outcomes[outcome]), None)


class Relay:
    """The relay process: ``run`` goes on for ever, ``run_once`` is one round of it."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._noted: str | None = "unknown"  # what the database says until the first note
        self._failures = 0  # in a row, of whatever kind

    async def run(self) -> None:
        """Relay until cancelled; a database or broker that is away is waited for."""
        while True:
            try:
                async with lead(self._settings) as leader:
                    log.info("relay.active")
                    metrics.active.set(1)
                    self._noted = "unknown"  # another relay may have noted something meanwhile
                    await self._lead(leader)
            except DATABASE_AWAY as error:
                log.warning("relay.database_away", error=type(error).__name__)
            finally:
                metrics.active.set(0)
            await self._pause()

    async def run_once(
        self, connection: AsyncConnection, to: Publisher, *, limit: int
    ) -> RelayRound:
        """Publish up to ``limit`` events from the head of the backlog and mark what was confirmed.

        A user whose event was refused gets no further event in this round.
        """
        events = await head(connection, limit)
        erased = [event for event in events if event.is_erased]
        for wave in waves(erased):
            await mark_published(connection, [event.position for event in wave])
        outcomes: Counter[Outcome] = Counter()
        refused = set()
        for wave in waves([event for event in events if not event.is_erased]):
            ready = [event for event in wave if event.user_id not in refused]
            results = await to.publish(ready)
            confirmed = []
            for event, outcome in zip(ready, results, strict=True):
                if outcome is Outcome.CONFIRMED:
                    confirmed.append(event.position)
                else:
                    refused.add(event.user_id)
            if confirmed:
                await mark_published(connection, confirmed)
            outcomes.update(results)
        for outcome, count in outcomes.items():
            metrics.published.labels(result=outcome.value).inc(count)
        return RelayRound(claimed=len(events), erased=len(erased), outcomes=outcomes)

    async def _lead(self, leader: Leader) -> None:
        """Be the active relay until the database goes; connect to the broker as often as needed."""
        settings = self._settings
        while True:
            try:
                async with publisher(
                    settings.amqp_url,
                    source=settings.issuer,
                    timeout_seconds=settings.publish_timeout_seconds,
                ) as to:
                    await self._publish(leader, to)
            except DATABASE_ERRORS:
                raise
            except BROKER_ERRORS as error:
                await self._note(leader, in_words(error))
            await self._pause()

    async def _publish(self, leader: Leader, to: Publisher) -> None:
        """Run rounds on one connection to the broker; return when it has to be a new one."""
        next_heartbeat = time.monotonic()
        while True:
            leader.woken.clear()
            if time.monotonic() >= next_heartbeat:
                await record_heartbeat(leader.connection)
                next_heartbeat = time.monotonic() + self._settings.heartbeat_seconds
            # While events are refused one is tried at a time: enough to see when it ends.
            limit = 1 if self._failures else self._settings.relay_batch_size
            done = await self.run_once(leader.connection, to, limit=limit)
            if done.refused:
                await self._note(leader, _TROUBLE[done.refused])
                if done.refused is Outcome.UNCONFIRMED:
                    return
                await self._pause()
                continue
            self._failures = 0
            if done.claimed:
                await self._note(leader, None)
            if done.claimed < limit:
                await leader.wait(until=next_heartbeat)

    async def _note(self, leader: Leader, trouble: str | None) -> None:
        """Keep what ``auth-service status`` shows in step with what the relay meets."""
        if trouble == self._noted:
            return
        since = None if trouble is None else func.now()
        await leader.connection.execute(update(source).values(trouble=trouble, trouble_since=since))
        self._noted = trouble
        if trouble:
            log.warning("relay.trouble", trouble=trouble)
        else:
            log.info("relay.publishing")

    async def _pause(self) -> None:
        """Wait after a failure; the more there were in a row, the longer."""
        self._failures += 1
        longest = self._settings.retry_seconds_max
        await asyncio.sleep(pause_seconds(self._failures, longest=longest))
