"""Publish recorded events to RabbitMQ, in order per user.

Step 3 of 6.

Guarantees: an event is marked published only after the broker confirmed it, so a crash may repeat
an event but never loses one. At most one event per user is unconfirmed, so a refusal cannot reverse
two of them. An event that no queue accepts, or whose row another session has locked, delays only
itself and later events of its user. Thousands of changes of one user delay nobody else: a wave has
one event of each user. One relay is active, and another takes over within seconds. A
recorded event is published at once, or within ``POLL_SECONDS`` if the wake-up is missing. While the
broker is away, events stay recorded and are published later.

Not here: recording events (``record``), which relay is active (``service_kit.database.lease``),
which events are set aside (``set_aside``), and which rows are locked (``held``).
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import func, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox import metrics, set_aside
from auth_service.outbox.backlog import Claim, RecordedEvent, claim
from auth_service.outbox.heartbeat import record_heartbeat_if_free
from auth_service.outbox.held import HeldRows
from auth_service.outbox.model import Unroutable
from auth_service.outbox.publisher import Outcome, Publisher, publisher
from auth_service.outbox.table import RELAY_LEASE, SOURCE_IS_FREE, source
from auth_service.settings import RelaySettings
from contracts.events import Heartbeat
from service_kit.broker.connection import BROKER_ERRORS, in_words
from service_kit.database import lease
from service_kit.database.away import DATABASE_AWAY, DATABASE_ERRORS, is_locked
from service_kit.database.lease import Leader
from service_kit.process.backoff import pause_seconds
from service_kit.process.tasks import end_tasks

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

_KIND: Final = {
    Outcome.RETURNED: set_aside.RETURNED,
    Outcome.UNSENDABLE: set_aside.UNSENDABLE,
}


@dataclass(frozen=True, slots=True)
class RelayRound:
    """The result of one wave: events read, skipped as erased, set aside, and the outcomes."""

    claimed: int
    erased: int
    set_aside: int
    outcomes: Counter[Outcome]

    @property
    def refused(self) -> Outcome | None:
        """The worst outcome that blocks all events, or None."""
        worst = (Outcome.UNCONFIRMED, Outcome.NACKED)
        return next((outcome for outcome in worst if self.outcomes[outcome]), None)

    @property
    def moved(self) -> int:
        """Events that left the backlog, or that the relay will not claim again for now."""
        return self.erased + self.set_aside + self.outcomes[Outcome.CONFIRMED]


@dataclass(frozen=True, slots=True)
class _Wave:
    """A claim whose events are on their way, and the positions to set aside, by kind."""

    claimed: Claim
    ready: Sequence[RecordedEvent]
    aside: dict[int, list[int]]
    outcomes: asyncio.Task[list[Outcome]]


class Relay:
    """The relay process: ``run`` repeats ``run_once`` until cancelled."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._stored_trouble: str | None = "unknown"  # what the database shows
        self._failures = 0  # in a row, of any kind
        self._unroutable = Unroutable(longest=settings.retry_seconds_max)
        self._releasing: set[str] = set()  # types that a queue accepts again
        self._is_some_aside = True  # as far as this relay knows
        self._sweep_due = 0.0
        self._held = HeldRows()
        self._lane: str | None = None  # where the next claim begins
        self._confirmed_at = 0.0
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

    async def run_once(self, leader: Leader, to: Publisher, *, limit: int) -> RelayRound:
        """Publish the first event of each of up to ``limit`` lanes, and mark the confirmed ones."""
        return await self._finish(leader, await self._begin(leader, to, limit=limit))

    async def _begin(
        self, leader: Leader, to: Publisher, *, limit: int, busy: Collection[_Wave] = ()
    ) -> _Wave:
        """Claim events of lanes that are not in a ``busy`` wave, and begin to publish them."""
        claimed, behind = await self._claim(leader, limit, busy)
        aside: dict[int, list[int]] = {kind: [] for kind in set_aside.KINDS}
        ready = []
        for event in claimed.events:
            if event.position in behind:
                aside[set_aside.BEHIND].append(event.position)
            elif event.is_erased:
                continue
            elif event.type in self._unroutable:
                aside[set_aside.RETURNED].append(event.position)
            else:
                ready.append(event)
        self._lane = claimed.next_lane
        return _Wave(claimed, ready, aside, asyncio.create_task(to.publish(ready)))

    async def _finish(self, leader: Leader, wave: _Wave) -> RelayRound:
        """Wait for the outcomes of a wave, mark the confirmed events, and set others aside."""
        outcomes = await wave.outcomes
        await self._settle(leader, wave.ready, outcomes)
        for event, outcome in zip(wave.ready, outcomes, strict=True):
            if outcome in _KIND:
                wave.aside[_KIND[outcome]].append(event.position)
        done = await self._set_aside(leader, wave.aside)
        erased = sum(event.is_erased for event in wave.claimed.events)
        return RelayRound(len(wave.claimed.events), erased, done, Counter(outcomes))

    async def _claim(
        self, leader: Leader, limit: int, busy: Collection[_Wave]
    ) -> tuple[Claim, set[int]]:
        """Claim events, and mark the erased ones; return those behind what is set aside, too."""
        if self._held.is_full:
            return Claim([], next_lane=None, is_last=True), set()
        lanes = {event.lane for wave in busy for event in wave.ready}
        # After a failure the lanes take turns, so that one that is refused delays no other.
        after = (self._lane or "") if self._failures else self._lane
        async with leader.session() as connection:
            claimed = await claim(
                connection, limit, after=after, held=self._held.positions, busy=lanes
            )
            if erased := [event for event in claimed.events if event.is_erased]:
                await self._held.mark(connection, erased)
            if not self._is_some_aside:
                return claimed, set()
            # Urgent events overtake those that are set aside.
            others = [e for e in claimed.events if not (e.is_erased or e.is_urgent)]
            return claimed, await set_aside.behind(connection, others)

    async def _settle(
        self, leader: Leader, events: Sequence[RecordedEvent], outcomes: Sequence[Outcome]
    ) -> None:
        """Mark the confirmed events, and remember the types that no queue accepts."""
        now = time.monotonic()
        confirmed = []
        for event, outcome in zip(events, outcomes, strict=True):
            if outcome is Outcome.CONFIRMED:
                confirmed.append(event)
            elif outcome is Outcome.RETURNED and event.type not in self._unroutable:
                self._postpone_type(event.type, now)
        if confirmed:
            self._confirmed_at = now
            async with leader.session() as connection:
                await self._held.mark(connection, confirmed)
        for outcome, count in Counter(outcomes).items():
            metrics.published.labels(result=outcome.value).inc(count)

    def _postpone_type(self, event_type: str, now: float) -> None:
        self._unroutable.postpone(event_type, now)
        self._releasing.discard(event_type)
        # A heartbeat shows at once whether any queue is bound.
        if event_type != Heartbeat.type and len(self._unroutable) == 1:
            self._heartbeat_due = min(self._heartbeat_due, now + HEARTBEAT_RETRY_SECONDS)
        log.warning("relay.set_aside", type=event_type)

    async def _set_aside(self, leader: Leader, aside: dict[int, list[int]]) -> int:
        """Set events aside, by kind; return how many rows were not locked."""
        done = 0
        async with leader.session() as connection:
            for kind, positions in aside.items():
                if positions:
                    done += await set_aside.set_aside(connection, positions, kind)
        self._is_some_aside = self._is_some_aside or done > 0
        return done

    async def _lead(self, leader: Leader) -> None:
        """Lead until the database is lost; reconnect to the broker as often as needed."""
        settings = self._settings
        async with leader.session() as connection:
            await self._held.begin(connection)
            await set_aside.release_unsendable(connection)
            known = await set_aside.returned_types(connection)
        self._unroutable.adopt(known, time.monotonic())
        self._is_some_aside = True
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
            await self._pause()

    async def _publish(self, leader: Leader, to: Publisher) -> None:
        """Run rounds on one connection to the broker; return when it must be replaced.

        A queue that keeps refusing is tried on another connection. If a channel was opened while a
        quorum queue had lost its leader, RabbitMQ 3.10 permanently refuses what it publishes.
        """
        if self.broker_trouble is not None:
            self.broker_trouble = None
            self._heartbeat_due = time.monotonic()
        in_flight: deque[_Wave] = deque()
        try:
            await self._repeat_rounds(leader, to, in_flight)
        finally:
            await end_tasks(*(wave.outcomes for wave in in_flight))

    async def _repeat_rounds(self, leader: Leader, to: Publisher, in_flight: deque[_Wave]) -> None:
        declare_due = time.monotonic() + DECLARE_SECONDS
        moved = 0  # since the first lane was claimed
        while True:
            if not self._lane:
                moved = 0
                leader.woken.clear()
            if time.monotonic() >= declare_due:
                await to.declare()
                declare_due = time.monotonic() + DECLARE_SECONDS
            # While events are refused, try one at a time: enough to see when that ends.
            limit = 1 if self._failures else self._settings.relay_batch_size
            try:
                await self._record_heartbeat(leader)
                refused = await self._retry(leader, to)
                wave = await self._begin(leader, to, limit=limit, busy=in_flight)
                in_flight.append(wave)
                # The last lane, or a failure: what follows has to know how all waves ended.
                ahead = 0 if wave.claimed.is_last or self._failures else WAVES_AHEAD
                claimed = 0
                while len(in_flight) > ahead:
                    done = await self._finish(leader, in_flight.popleft())
                    refused = refused or done.refused
                    ahead = 0 if refused else ahead
                    claimed += done.claimed
                    moved += done.moved
            except DBAPIError as error:
                if not is_locked(error):
                    raise
                await self._store_trouble(leader, _LOCKED)
                await self._pause()
                continue
            if refused:
                await self._store_trouble(leader, _TROUBLE[refused])
                if refused is Outcome.UNCONFIRMED:
                    self.broker_trouble = _TROUBLE[refused]
                    return
                if self._failures >= REFUSALS_MAX:
                    return
                await self._pause()
                continue
            self._failures = 0
            if claimed or self._lasting_trouble:
                await self._store_trouble(leader, self._lasting_trouble)
            if wave.claimed.is_last and not moved:
                look = time.monotonic() + POLL_SECONDS
                due = (look, self._heartbeat_due, declare_due, self._unroutable.next_due)
                await leader.wait(until=min(*due, self._held.due))

    async def _record_heartbeat(self, leader: Leader) -> None:
        """Record a heartbeat if one is due."""
        now = time.monotonic()
        if now < self._heartbeat_due:
            return
        async with leader.session() as connection:
            is_recorded = await record_heartbeat_if_free(connection)
            await self._held.set_source_held(connection, is_held=not is_recorded)
        every = self._settings.heartbeat_seconds
        self._heartbeat_due = now + (every if is_recorded else min(every, HEARTBEAT_RETRY_SECONDS))

    async def _retry(self, leader: Leader, to: Publisher) -> Outcome | None:
        """Retry locked rows and set-aside types that are due; UNCONFIRMED if the broker is away."""
        now = time.monotonic()
        async with leader.session() as connection:
            await self._held.retry(connection)
            probes = [
                event
                for event_type in self._unroutable.due(now)
                if (event := await self._probe(connection, event_type))
            ]
        outcomes = await to.publish(probes)
        await self._settle(leader, probes, outcomes)
        if Outcome.UNCONFIRMED in outcomes:
            return Outcome.UNCONFIRMED
        for event, outcome in zip(probes, outcomes, strict=True):
            if outcome in (Outcome.CONFIRMED, Outcome.NACKED):
                self._unroutable.remove(event.type)
                self._releasing.add(event.type)
                log.info("relay.released", type=event.type)
            else:
                self._unroutable.postpone(event.type, now)
        async with leader.session() as connection:
            for event_type in sorted(self._releasing):
                await set_aside.release(connection, event_type)
                if not await set_aside.is_left(connection, event_type):
                    self._releasing.discard(event_type)
            if (
                self._unroutable
                or self._releasing
                or not self._is_some_aside
                or now < self._sweep_due
            ):
                return None
            if not await set_aside.release_behind(connection):
                self._sweep_due = now + POLL_SECONDS
                self._is_some_aside = await set_aside.is_any(connection)
        return None

    async def _probe(self, connection: AsyncConnection, event_type: str) -> RecordedEvent | None:
        """Read an event that shows whether a queue accepts its type; None if there is none."""
        event = await set_aside.first_returned(connection, event_type)
        if event is None and not await set_aside.is_left(connection, event_type):
            self._unroutable.remove(event_type)
        elif event is None:
            self._unroutable.postpone(event_type, time.monotonic())
        return event

    @property
    def _lasting_trouble(self) -> str | None:
        """A problem that does not stop the relay from publishing, or None."""
        has_none = self._unroutable.since > self._confirmed_at
        return _NO_QUEUE if has_none and Heartbeat.type in self._unroutable else None

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
