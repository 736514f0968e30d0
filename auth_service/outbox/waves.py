"""Publish events in waves, mark what was confirmed, and set aside what no queue accepts.

Step 3 of 6: what the relay does with the events of one claim, and with those it set aside.

Guarantees: an event is marked published only after the broker confirmed it. At most one event per
user is unconfirmed, also while several waves are in flight, so a refusal cannot reverse two. An
event that no queue accepts, or whose row another session has locked, delays only itself and later
events of its user.

Not here: when waves follow each other (``relay``), which events are claimed (``backlog``), which
rows are locked (``held``).
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox import metrics, set_aside
from auth_service.outbox.backlog import Claim, RecordedEvent, claim
from auth_service.outbox.held import HeldRows
from auth_service.outbox.model import Unroutable
from auth_service.outbox.publisher import Outcome, Publisher
from service_kit.database.lease import Leader
from service_kit.process.tasks import end_tasks

log = structlog.get_logger()

SWEEP_SECONDS: Final = 2.0
"""How often to release events that nothing blocks any more: one read of an index."""

_KIND: Final = {
    Outcome.RETURNED: set_aside.RETURNED,
    Outcome.UNSENDABLE: set_aside.UNSENDABLE,
}


@dataclass(frozen=True, slots=True)
class _Wave:
    """A claim whose events are on their way, and the positions to set aside, by kind."""

    claimed: Claim
    ready: Sequence[RecordedEvent]
    aside: dict[int, list[int]]
    outcomes: asyncio.Task[list[Outcome]]


@dataclass(frozen=True, slots=True)
class Done:
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


class Waves:
    """The waves of one relay, and what it has learned from them.

    ``held`` are the locked rows, ``unroutable`` the types that no queue accepts, ``confirmed_at``
    is when an event was last confirmed (monotonic seconds; 0 for never), and ``next_lane`` where
    the next claim begins. ``in_flight`` are the waves that are not finished, oldest first.
    """

    def __init__(self, *, retry_seconds_max: float) -> None:
        """``retry_seconds_max``: the longest pause before a type is retried."""
        self.held = HeldRows()
        self.unroutable = Unroutable(longest=retry_seconds_max)
        self.confirmed_at = 0.0
        self.next_lane: str | None = None
        self.in_flight: deque[_Wave] = deque()
        self._releasing: set[str] = set()  # types that a queue accepts again
        self._is_some_aside = True  # as far as this relay knows
        self._sweep_due = 0.0

    async def adopt(self, leader: Leader) -> None:
        """Continue from what an earlier relay stored."""
        async with leader.session() as connection:
            await self.held.begin(connection)
            await set_aside.release_unsendable(connection)
            known = await set_aside.returned_types(connection)
        self.unroutable.adopt(known, time.monotonic())
        self._is_some_aside = True

    async def begin(
        self, leader: Leader, to: Publisher, *, limit: int, by_turns: bool = False
    ) -> Claim:
        """Claim events of lanes that have none in flight, and begin to publish them.

        ``by_turns``: let all lanes take turns, so that one that is refused delays no other.
        """
        claimed, behind = await self._claim(leader, limit, by_turns=by_turns)
        aside: dict[int, list[int]] = {kind: [] for kind in set_aside.KINDS}
        ready = []
        for event in claimed.events:
            if event.position in behind:
                aside[set_aside.BEHIND].append(event.position)
            elif event.is_erased:
                continue
            elif event.type in self.unroutable:
                aside[set_aside.RETURNED].append(event.position)
            else:
                ready.append(event)
        self.next_lane = claimed.next_lane
        outcomes = asyncio.create_task(to.publish(ready))
        self.in_flight.append(_Wave(claimed, ready, aside, outcomes))
        return claimed

    async def finish(self, leader: Leader) -> Done:
        """Wait for the oldest wave's outcomes, mark confirmed events, and set others aside."""
        wave = self.in_flight.popleft()
        outcomes = await wave.outcomes
        await self._settle(leader, wave.ready, outcomes)
        for event, outcome in zip(wave.ready, outcomes, strict=True):
            if outcome in _KIND:
                wave.aside[_KIND[outcome]].append(event.position)
        done = await self._set_aside(leader, wave.aside)
        erased = sum(event.is_erased for event in wave.claimed.events)
        return Done(len(wave.claimed.events), erased, done, Counter(outcomes))

    async def abandon(self) -> None:
        """Forget the waves in flight: their events are not marked, and will be published again."""
        await end_tasks(*(wave.outcomes for wave in self.in_flight))
        self.in_flight.clear()

    async def _claim(self, leader: Leader, limit: int, *, by_turns: bool) -> tuple[Claim, set[int]]:
        """Claim events, and mark the erased ones; return those behind what is set aside, too."""
        if self.held.is_full:
            return Claim([], next_lane=None, is_last=True), set()
        after = (self.next_lane or "") if by_turns else self.next_lane
        held, busy = self.held.positions, self._busy
        async with leader.session() as connection:
            claimed = await claim(connection, limit, after=after, held=held, busy=busy)
            if erased := [event for event in claimed.events if event.is_erased]:
                await self.held.mark(connection, erased)
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
            elif outcome is Outcome.RETURNED and event.type not in self.unroutable:
                self._postpone_type(event, now)
        if confirmed:
            self.confirmed_at = now
            async with leader.session() as connection:
                await self.held.mark(connection, confirmed)
        for outcome, count in Counter(outcomes).items():
            metrics.published.labels(result=outcome.value).inc(count)

    def _postpone_type(self, event: RecordedEvent, now: float) -> None:
        self.unroutable.postpone(event.type, now)
        self._releasing.discard(event.type)
        log.warning("relay.set_aside", type=event.type, **event.ids)

    async def _set_aside(self, leader: Leader, aside: dict[int, list[int]]) -> int:
        """Set events aside, by kind; return how many rows were not locked."""
        done = 0
        async with leader.session() as connection:
            for kind, positions in aside.items():
                if positions:
                    done += await set_aside.set_aside(connection, positions, kind)
        self._is_some_aside = self._is_some_aside or done > 0
        return done

    @property
    def _busy(self) -> set[str]:
        """The lanes that have an event in flight."""
        return {event.lane for wave in self.in_flight for event in wave.ready}

    async def retry(self, leader: Leader, to: Publisher) -> Outcome | None:
        """Retry locked rows and set-aside types that are due; UNCONFIRMED if the broker is away."""
        now, busy = time.monotonic(), self._busy
        async with leader.session() as connection:
            await self.held.retry(connection)
            probes = [
                event
                for event_type in self.unroutable.due(now)
                if (event := await self._probe(connection, event_type)) and event.lane not in busy
            ]
        outcomes = await to.publish(probes)
        await self._settle(leader, probes, outcomes)
        if Outcome.UNCONFIRMED in outcomes:
            return Outcome.UNCONFIRMED
        for event, outcome in zip(probes, outcomes, strict=True):
            if outcome in (Outcome.CONFIRMED, Outcome.NACKED):
                self.unroutable.remove(event.type)
                self._releasing.add(event.type)
                log.info("relay.released", type=event.type, **event.ids)
            else:
                self.unroutable.postpone(event.type, now)
        async with leader.session() as connection:
            for event_type in sorted(self._releasing):
                await set_aside.release(connection, event_type)
                if not await set_aside.is_left(connection, event_type):
                    self._releasing.discard(event_type)
            if (
                self.unroutable
                or self._releasing
                or not self._is_some_aside
                or now < self._sweep_due
            ):
                return None
            if not await set_aside.release_behind(connection):
                self._sweep_due = now + SWEEP_SECONDS
                self._is_some_aside = await set_aside.is_any(connection)
        return None

    async def _probe(self, connection: AsyncConnection, event_type: str) -> RecordedEvent | None:
        """Read an event that shows whether a queue accepts its type; None if there is none."""
        event = await set_aside.first_returned(connection, event_type)
        if event is None and not await set_aside.is_left(connection, event_type):
            self.unroutable.remove(event_type)
        elif event is None:
            self.unroutable.postpone(event_type, time.monotonic())
        return event
