"""Settle a batch: apply it in one transaction, and park what is at fault.

Step 5 of 6, the second half.

Guarantees: while the database is away messages wait, and nothing is parked; only a message whose
own data is at fault is parked, alone; one that kills the process is parked after a few counted
attempts, no neighbour along; many parked in a row for the same reason stop everything, for then
the code is at fault.

Not here: what an event does (``apply``), acknowledging (``consumer``).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.db import DATABASE_AWAY
from blog_service.inbox import metrics
from blog_service.inbox.apply import apply
from blog_service.inbox.attempts import clear_attempts, count_attempt
from blog_service.inbox.faults import (
    DeadLettered,
    Reason,
    Verdict,
    describe,
    is_messages_fault,
    verdict,
)
from blog_service.inbox.parking import message_hash, park
from blog_service.inbox.subscription import Delivery
from blog_service.inbox.topology import DEAD, LIVE
from blog_service.inbox.work import Work
from blog_service.settings import ConsumerSettings
from contracts.backoff import pause_seconds
from contracts.envelope import decode
from contracts.events import Event, UserEvent
from contracts.merge import Outcome

log = structlog.get_logger()

T = TypeVar("T")


class DatabaseAway(ConnectionError):
    """The database did not answer for too long: the messages have to go back to the broker."""


class ParkedInARow(Exception):
    """Too many messages were parked one after the other for the same reason."""


class Settler:
    """Settles the batches of one lane of a consumer process, one batch at a time."""

    def __init__(
        self, settings: ConsumerSettings, engine: AsyncEngine, work: Work | None = None
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._work = work or Work()
        self._process = uuid4()
        self._last_verdict: Verdict | None = None
        self._parked_in_a_row = 0

    async def settle(self, batch: list[Delivery]) -> list[Outcome]:
        """Apply or park each message of ``batch``; what became of them, in their order.

        A message that was delivered before is the only one of its batch.

        Raises:
            DatabaseAway: the batch may be settled in part, and has to go back whole.
            ParkedInARow: likewise, and the code is at fault.
        """
        if batch[0].redelivered:
            return [await self._settle_suspect(batch[0])]
        try:
            return await self._patiently(lambda: self._apply(batch))
        except Exception as error:
            if not is_messages_fault(error):
                raise
        return [await self._settle_alone(delivery) for delivery in batch]

    async def _settle_suspect(self, delivery: Delivery) -> Outcome:
        """Try a message that may have killed a process, after counting the attempt."""

        async def count() -> int:
            async with self._engine.begin() as connection:
                return await count_attempt(connection, message_hash(delivery), self._process)

        processes = await self._patiently(count)
        if processes > self._settings.attempts_max:
            found = Verdict(Reason.KILLS_THE_PROCESS, f"{processes - 1} tries ended with a process")
            return await self._park(delivery, found)
        try:
            return await self._settle_alone(delivery)
        except DatabaseAway:
            # This process lives: it must not count, however often several hand a message round.
            with contextlib.suppress(*DATABASE_AWAY):
                async with self._engine.begin() as connection:
                    await clear_attempts(connection, message_hash(delivery))
            raise

    async def _settle_alone(self, delivery: Delivery) -> Outcome:
        """Apply one message in a transaction of its own, or park it when it is at fault."""
        try:
            [outcome] = await self._patiently(lambda: self._apply([delivery]))
        except Exception as error:
            if not is_messages_fault(error):
                raise
            return await self._park(delivery, verdict(error))
        return outcome

    async def _apply(self, batch: list[Delivery]) -> list[Outcome]:
        """Apply all of ``batch``, or raise and leave nothing behind."""
        events = [_event(delivery) for delivery in batch]
        async with self._engine.begin() as connection:
            outcomes = await apply(connection, events)
            if batch[0].redelivered:
                await clear_attempts(connection, message_hash(batch[0]))
        if any(isinstance(event, UserEvent) for event in events):
            self._last_verdict = None  # the others would apply whatever is wrong with users
        now = time.time()
        self._work.applied += len(events)
        for delivery, event, outcome in zip(batch, events, outcomes, strict=True):
            # What is replayed was recorded long ago, and says nothing about the way here.
            if delivery.queue == LIVE and outcome is Outcome.APPLIED:
                seconds = now - event.time.timestamp()
                self._work.note_latency(seconds)
                if isinstance(event, UserEvent):
                    metrics.latency.observe(seconds)
        return outcomes

    async def _park(self, delivery: Delivery, found: Verdict) -> Outcome:
        async def store() -> None:
            async with self._engine.begin() as connection:
                await park(connection, delivery, found.reason, found.error)
                await clear_attempts(connection, message_hash(delivery))

        await self._patiently(store)
        log.warning("message.parked", reason=found.reason, error=found.error)
        if delivery.queue == DEAD:  # the broker's verdict says nothing about our code
            return Outcome.PARKED
        self._parked_in_a_row = self._parked_in_a_row + 1 if found == self._last_verdict else 1
        self._last_verdict = found
        if self._parked_in_a_row >= self._settings.parked_in_a_row_max:
            raise ParkedInARow(
                f"{self._parked_in_a_row} messages in a row were parked: {found.reason}"
                f" ({found.error}); mend the cause and restart the consumer"
            )
        return Outcome.PARKED

    async def _patiently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat ``operation`` while the database is away, for as long as messages may be held."""
        deadline = time.monotonic() + self._settings.database_patience_seconds
        failures = 0
        while True:
            try:
                return await operation()
            except Exception as error:
                if is_messages_fault(error):
                    raise
                if time.monotonic() >= deadline:
                    raise DatabaseAway from error
                if failures == 0:
                    log.warning("consumer.database_away", error=describe(error))
            failures += 1
            await asyncio.sleep(pause_seconds(failures, longest=self._settings.retry_seconds_max))


def _event(delivery: Delivery) -> Event:
    if delivery.queue == DEAD:
        raise DeadLettered
    return decode(delivery)
