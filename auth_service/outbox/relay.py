"""Publish recorded events to RabbitMQ, in order per user.

Step 3 of 6.

Guarantees: an event is marked published only after the broker confirmed it, so a crash may repeat
an event but never loses one. One relay is active, and another takes over within seconds. A recorded
event is published at once, or within ``POLL_SECONDS`` if the wake-up is missing. Thousands of
changes of one user delay nobody else: a wave has one event of each user. While the broker is away,
events stay recorded and are published later.

Not here: recording events (``record``), what happens to the events of one wave (``waves``), and
which relay is active (``service_kit.database.lease``).
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import func, update
from sqlalchemy.exc import DBAPIError

from auth_service.outbox import metrics
from auth_service.outbox.heartbeat import record_heartbeat_if_free
from auth_service.outbox.publisher import Outcome, Publisher, publisher
from auth_service.outbox.table import RELAY_LEASE, SOURCE_IS_FREE, source
from auth_service.outbox.waves import Waves
from auth_service.settings import RelaySettings
from contracts.events import Heartbeat
from service_kit.broker.connection import BROKER_ERRORS, in_words
from service_kit.database import lease
from service_kit.database.away import DATABASE_AWAY, DATABASE_ERRORS, is_locked
from service_kit.database.lease import Leader
from service_kit.process.backoff import pause_seconds

log = structlog.get_logger()

POLL_SECONDS: Final = 2.0
"""The longest wait for a wake-up before the relay polls. It has to touch its session every three
seconds anyway, and a poll is one read of an index."""

DECLARE_SECONDS: Final = 10.0
"""How often to declare the exchanges again, which also detects a silent broker."""

WAVES_AHEAD: Final = 1
"""Waves on their way while the next one is claimed. So the broker has work while the database marks
and claims; a second one would not find a processor idle."""

HEARTBEAT_RETRY_SECONDS: Final = 1.0
"""When to retry a heartbeat after another session had locked the row of ``source``."""

REFUSALS_MAX: Final = 2
"""How often in a row a queue may refuse on one connection before another is opened. A full queue
that is being worked off accepts an event now and then."""

_NO_QUEUE: Final = "no queue is bound to the exchange"
_LOCKED: Final = "another session has locked the table of events"

_TROUBLE: Final = {
    Outcome.NACKED: "a queue refuses events: it is full, or most of its nodes are away",
    Outcome.UNCONFIRMED: "the broker does not confirm",
}


@dataclass(slots=True)
class _Round:
    """The waves that one round finished: events claimed, events moved, and the worst refusal.

    ``is_last``: nothing is left to claim but later events of lanes that were published.
    """

    claimed: int = 0
    moved: int = 0
    refused: Outcome | None = None
    is_last: bool = False


class Relay:
    """The relay process: ``run`` repeats rounds until cancelled."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._stored_trouble: str | None = "unknown"  # what the database shows
        self._failures = 0  # in a row, of any kind
        self._waves = Waves(retry_seconds_max=settings.retry_seconds_max)
        self._heartbeat_due = 0.0
        self.is_active = False
        self.broker_trouble: str | None = "not connected yet"

    async def run(self) -> None:
        """Relay until cancelled; wait while the database or the broker is away."""
        while True:
            try:
                async with lease.hold(self._settings, RELAY_LEASE) as leader:
                    log.info("relay.active")
                    self._set_active(True)
                    self._stored_trouble = "unknown"  # another relay may have stored some
                    await self._lead(leader)
            except DATABASE_AWAY as error:
                log.warning("relay.database_away", error=type(error).__name__)
            finally:
                self._set_active(False)
            await self._pause()

    async def _lead(self, leader: Leader) -> None:
        """Lead until the database is lost; reconnect to the broker as often as needed."""
        settings = self._settings
        await self._waves.adopt(leader)
        self._heartbeat_due = time.monotonic()
        while True:
            try:
                async with publisher(
                    settings.amqp_url,
                    source=settings.issuer,
                    timeout_seconds=settings.publish_timeout_seconds,
                    plain=settings.amqp_plain,
                ) as to:
                    await self._publish(leader, to)
            except DATABASE_ERRORS:
                raise
            except BROKER_ERRORS as error:
                self.broker_trouble = in_words(error)
                await self._store_trouble(leader, self.broker_trouble)
            finally:
                await self._waves.abandon()
            await self._pause()

    async def _publish(self, leader: Leader, to: Publisher) -> None:
        """Run rounds on one connection to the broker; return when it must be replaced.

        A queue that keeps refusing is tried on another connection. If a channel was opened while a
        quorum queue had lost its leader, RabbitMQ 3.10 permanently refuses what it publishes.
        """
        if self.broker_trouble is not None:
            self.broker_trouble = None
            self._heartbeat_due = time.monotonic()
        waves = self._waves
        declare_due = time.monotonic() + DECLARE_SECONDS
        moved = 0  # since the oldest events were claimed
        while True:
            if not waves.next_lane:
                moved = 0
                leader.woken.clear()
            if time.monotonic() >= declare_due:
                await to.declare()
                declare_due = time.monotonic() + DECLARE_SECONDS
            try:
                await self._record_heartbeat(leader)
                done = await self._round(leader, to)
            except DBAPIError as error:
                if not is_locked(error):
                    raise
                await self._store_trouble(leader, _LOCKED)
                await self._pause()
                continue
            if done.refused:
                await self._store_trouble(leader, _TROUBLE[done.refused])
                if done.refused is Outcome.UNCONFIRMED:
                    self.broker_trouble = _TROUBLE[done.refused]
                    return
                if self._failures >= REFUSALS_MAX:
                    return
                await self._pause()
                continue
            self._failures = 0
            if done.claimed or self._lasting_trouble:
                await self._store_trouble(leader, self._lasting_trouble)
            moved += done.moved
            if done.is_last and not moved:
                look = time.monotonic() + POLL_SECONDS
                due = (look, self._heartbeat_due, declare_due, waves.unroutable.next_due)
                await leader.wait(until=min(*due, waves.held.due))

    async def _round(self, leader: Leader, to: Publisher) -> _Round:
        """Retry what is due, begin a wave, and finish those before it; this one too if need be."""
        waves = self._waves
        had_queues = not waves.unroutable
        # While events are refused, try one at a time: enough to see when that ends.
        limit = 1 if self._failures else self._settings.relay_batch_size
        done = _Round(refused=await waves.retry(leader, to))
        claimed = await waves.begin(leader, to, limit=limit, by_turns=self._failures > 0)
        done.is_last = claimed.is_last
        # At the end of a pass, and after a failure, what follows depends on how all waves ended.
        ahead = 0 if claimed.is_last or self._failures or done.refused else WAVES_AHEAD
        while len(waves.in_flight) > ahead:
            wave = await waves.finish(leader)
            done.claimed += wave.claimed
            done.moved += wave.moved
            if wave.refused:
                ahead = 0
                if done.refused is not Outcome.UNCONFIRMED:
                    done.refused = wave.refused
        # A heartbeat shows at once whether any queue is bound.
        if had_queues and waves.unroutable and Heartbeat.type not in waves.unroutable:
            soon = time.monotonic() + HEARTBEAT_RETRY_SECONDS
            self._heartbeat_due = min(self._heartbeat_due, soon)
        return done

    async def _record_heartbeat(self, leader: Leader) -> None:
        """Record a heartbeat if one is due."""
        now = time.monotonic()
        if now < self._heartbeat_due:
            return
        async with leader.session() as connection:
            is_recorded = await record_heartbeat_if_free(connection)
            await self._waves.held.set_source_held(connection, is_held=not is_recorded)
        every = self._settings.heartbeat_seconds
        self._heartbeat_due = now + (every if is_recorded else min(every, HEARTBEAT_RETRY_SECONDS))

    @property
    def _lasting_trouble(self) -> str | None:
        """A problem that does not stop the relay from publishing, or None."""
        unroutable = self._waves.unroutable
        has_none = unroutable.since > self._waves.confirmed_at
        return _NO_QUEUE if has_none and Heartbeat.type in unroutable else None

    async def _store_trouble(self, leader: Leader, trouble: str | None) -> None:
        """Store what ``auth-service status`` shows as the relay's trouble, if it has changed.

        If another session has locked the row, the next round stores it.
        """
        if trouble == self._stored_trouble:
            return
        since = None if trouble is None else func.now()
        async with leader.session() as connection:
            stored = await connection.execute(
                update(source).where(SOURCE_IS_FREE).values(trouble=trouble, trouble_since=since)
            )
        if not stored.rowcount:
            return
        self._stored_trouble = trouble
        if trouble:
            log.warning("relay.trouble", trouble=trouble)
        else:
            log.info("relay.publishing")

    def _set_active(self, is_active: bool) -> None:
        self.is_active = is_active
        metrics.active.set(is_active)

    async def _pause(self) -> None:
        """Wait after a failure; the pause grows with each failure in a row."""
        self._failures += 1
        longest = self._settings.retry_seconds_max
        await asyncio.sleep(pause_seconds(self._failures, longest=longest))
