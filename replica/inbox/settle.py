"""Settle a batch: apply it in one transaction, and park what is at fault.

Step 5 of 6, the second half.

Guarantees: while the database is away, or a whole table is locked, messages wait, and nothing is
parked; one that needs a row which another session holds is set aside, and the others go on within
seconds; only a message whose own data is at fault is parked, alone; one that kills the process is
parked after a few counted attempts, no neighbour along; many parked in a row for the same reason
stop everything, for then the code is at fault.

Not here: what an event does (``apply``), what becomes of messages that are set aside (``retry``),
acknowledging (``consumer``).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar
from uuid import uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events import Event, UserDeleted, UserEvent
from contracts.events.envelope import Undecodable, decode, too_large
from contracts.sync.merge import Outcome
from replica.inbox import metrics
from replica.inbox.activity import Activity
from replica.inbox.apply import apply
from replica.inbox.attempts import clear_attempts, count_attempt
from replica.inbox.faults import (
    DeadLettered,
    Reason,
    RowHeld,
    Verdict,
    Wait,
    describe,
    gave_up_by_limit,
    is_lock_timeout,
    is_messages_fault,
    verdict,
)
from replica.inbox.locked_rows import (
    is_any_table_locked,
    locked_users,
    require_unlocked_tables,
    shorten_lock_timeout,
)
from replica.inbox.parking import message_hash, park
from replica.inbox.subscription import Delivery
from replica.inbox.waiting import event_of, key_of, set_aside
from replica.settings import ConsumerSettings
from replica.table import Replica
from service_kit.database.away import DATABASE_AWAY
from service_kit.process.backoff import pause_seconds

log = structlog.get_logger()

T = TypeVar("T")

HELD_PAUSE_SECONDS = 0.2
"""Before a message that met a lock is tried in another way: most locks are gone by then."""


class DatabaseAway(ConnectionError):
    """The database did not answer for too long: the messages have to go back to the broker."""


class ParkedInARow(Exception):
    """Too many messages were parked one after the other for the same reason."""


class Settler:
    """Settles the batches of one lane of a consumer process, one batch at a time."""

    def __init__(
        self,
        replica: Replica,
        settings: ConsumerSettings,
        engine: AsyncEngine,
        activity: Activity | None = None,
    ) -> None:
        self._replica = replica
        self._settings = settings
        self._engine = engine
        self._activity = activity or Activity()
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
        if not self._activity.waiting_keys:
            return await self._settle_together(batch)
        behind = [index for index, each in enumerate(batch) if self._is_behind(event_of(each))]
        return await self._settle_around(behind, batch, self._settle_together)

    async def _settle_together(self, batch: list[Delivery]) -> list[Outcome]:
        try:
            return await self._patiently(lambda: self._apply(batch))
        except RowHeld:
            held = await self._patiently(lambda: self._held(batch), holds=False)
            return await self._settle_around(held, batch, self._settle_briefly)
        except Exception as error:
            if not is_messages_fault(error):
                raise
        return [await self._settle_alone(delivery) for delivery in batch]

    async def _settle_briefly(self, batch: list[Delivery]) -> list[Outcome]:
        """Settle ``batch``, in which few messages or none need what another session holds."""
        try:
            return await self._patiently(lambda: self._apply(batch, briefly=True))
        except RowHeld:
            pass
        except Exception as error:
            if not is_messages_fault(error):
                raise
        return [await self._settle_alone(delivery) for delivery in batch]

    async def _settle_around(
        self,
        held: Collection[int],
        batch: list[Delivery],
        settle: Callable[[list[Delivery]], Awaitable[list[Outcome]]],
    ) -> list[Outcome]:
        """Set the messages at the places ``held`` of ``batch`` aside, and ``settle`` the others."""
        others = [index for index in range(len(batch)) if index not in held]
        await self._set_aside([batch[index] for index in held], Wait.ROW_HELD)
        outcomes = dict.fromkeys(held, Outcome.SET_ASIDE)
        if others:
            settled = await settle([batch[index] for index in others])
            outcomes.update(zip(others, settled, strict=True))
        return [outcomes[index] for index in range(len(batch))]

    async def _held(self, batch: list[Delivery]) -> list[int]:
        """The places in ``batch`` of messages whose user another session holds."""
        events = [
            None if each.queue == self._replica.queues.dead else event_of(each) for each in batch
        ]
        users = {event.data.id for event in events if isinstance(event, UserEvent)}
        deleted = {event.data.id for event in events if isinstance(event, UserDeleted)}
        async with self._engine.connect() as connection:
            await shorten_lock_timeout(connection)
            held = await locked_users(self._replica, connection, users, deleted=deleted)
            await connection.rollback()
        return [
            index
            for index, event in enumerate(events)
            if isinstance(event, UserEvent) and event.data.id in held
        ]

    def _is_behind(self, event: Event | None) -> bool:
        """Whether an earlier message of the same user, source or key waits already."""
        return event is not None and key_of(event) in self._activity.waiting_keys

    async def _settle_suspect(self, delivery: Delivery) -> Outcome:
        """Try a message that may have killed a process, after counting the attempt."""

        async def count() -> int:
            async with self._engine.begin() as connection:
                # While a table is locked nothing is tried, whatever ends this process meanwhile.
                await require_unlocked_tables(self._replica, connection)
                return await count_attempt(connection, message_hash(delivery), self._process)

        try:
            processes = await self._patiently(count)
        except RowHeld:
            return await self._set_aside([delivery], Wait.ROW_HELD)
        if processes > self._settings.attempts_max:
            found = Verdict(Reason.KILLS_THE_PROCESS, f"{processes - 1} tries ended with a process")
            return await self._park(delivery, found)
        try:
            return await self._settle_alone(delivery)
        except DatabaseAway:
            # However often several hand a message round.
            await self._forget_attempts(delivery)
            raise

    async def _settle_alone(self, delivery: Delivery) -> Outcome:
        """Apply one message in a transaction of its own, park it, or set it aside.

        It is parked when it is at fault, and set aside when another session holds what it needs.
        """
        try:
            try:
                [outcome] = await self._patiently(lambda: self._apply([delivery], briefly=True))
            except DeadLettered as error:
                if error.by_limit:
                    return await self._set_aside([delivery], Wait.DEAD_LETTERED)
                return await self._park(delivery, verdict(error))
            except RowHeld:
                raise
            except Exception as error:
                if not is_messages_fault(error):
                    raise
                return await self._park(delivery, verdict(error))
        except RowHeld:
            return await self._set_aside([delivery], Wait.ROW_HELD)
        return outcome

    async def _set_aside(self, batch: list[Delivery], reason: Wait) -> Outcome:
        """Keep messages in the database, where they are tried again by themselves."""

        async def store() -> None:
            async with self._engine.begin() as connection:
                for delivery in batch:
                    await set_aside(connection, delivery, reason)

        if batch:
            await self._patiently(store, holds=False)
            log.warning("message.set_aside", reason=reason, messages=len(batch))
            events = (event_of(delivery) for delivery in batch)
            self._activity.waiting_keys |= {key_of(event) for event in events if event is not None}
        for delivery in batch:
            if delivery.redelivered:
                await self._forget_attempts(delivery)
        return Outcome.SET_ASIDE

    async def _forget_attempts(self, delivery: Delivery) -> None:
        """Note that this process has survived its try."""
        with contextlib.suppress(*DATABASE_AWAY):
            async with self._engine.begin() as connection:
                await shorten_lock_timeout(connection)
                await clear_attempts(connection, message_hash(delivery))

    async def _apply(self, batch: list[Delivery], *, briefly: bool = False) -> list[Outcome]:
        """Apply all of ``batch``, or raise and leave nothing behind.

        Parameters:
            briefly: whether to give up soon when another session holds a lock.
        """
        events = [self._event(delivery) for delivery in batch]
        async with self._engine.begin() as connection:
            if briefly:
                await shorten_lock_timeout(connection)
            outcomes = await apply(self._replica, connection, events)
            if batch[0].redelivered:
                await clear_attempts(connection, message_hash(batch[0]))
        if any(isinstance(event, UserEvent) for event in events):
            self._last_verdict = None  # the others would apply whatever is wrong with users
        now = time.time()
        self._activity.applied += len(events)
        for delivery, event, outcome in zip(batch, events, outcomes, strict=True):
            # What is replayed was recorded long ago, and says nothing about the way here.
            if delivery.queue == self._replica.queues.live and outcome is Outcome.APPLIED:
                seconds = now - event.time.timestamp()
                self._activity.note_latency(seconds)
                if isinstance(event, UserEvent):
                    metrics.latency.observe(seconds)
        return outcomes

    async def _park(self, delivery: Delivery, found: Verdict) -> Outcome:
        async def store() -> None:
            async with self._engine.begin() as connection:
                await shorten_lock_timeout(connection)
                await park(self._replica, connection, delivery, found.reason, found.error)
                await clear_attempts(connection, message_hash(delivery))

        await self._patiently(store)
        log.warning("message.parked", reason=found.reason, error=found.error)
        if (
            delivery.queue == self._replica.queues.dead
        ):  # the broker's verdict says nothing about our code
            return Outcome.PARKED
        self._parked_in_a_row = self._parked_in_a_row + 1 if found == self._last_verdict else 1
        self._last_verdict = found
        if self._parked_in_a_row >= self._settings.parked_in_a_row_max:
            raise ParkedInARow(
                f"{self._parked_in_a_row} messages in a row were parked: {found.reason}"
                f" ({found.error}); mend the cause and restart the consumer"
            )
        return Outcome.PARKED

    async def _patiently(self, operation: Callable[[], Awaitable[T]], *, holds: bool = True) -> T:
        """Repeat ``operation`` while the database is away, for as long as messages may be held.

        Parameters:
            operation: in transactions of its own.
            holds: whether one lock that is not free ends the repetition.

        Raises:
            RowHeld: another session holds a row, or a lock, that it needs, and not a whole table.
            DatabaseAway: it was away for too long.
        """
        deadline = time.monotonic() + self._settings.database_patience_seconds
        failures = 0
        while True:
            try:
                return await operation()
            except Exception as error:
                if is_messages_fault(error):
                    raise
                if holds and is_lock_timeout(error) and not await self._is_any_table_locked():
                    await asyncio.sleep(HELD_PAUSE_SECONDS)
                    raise RowHeld from error
                if time.monotonic() >= deadline:
                    raise DatabaseAway from error
                if failures == 0:
                    log.warning("consumer.database_away", error=describe(error))
            failures += 1
            await asyncio.sleep(pause_seconds(failures, longest=self._settings.retry_seconds_max))

    async def _is_any_table_locked(self) -> bool:
        """Whether everybody has to wait; True as well when the database does not even say that."""
        try:
            return await is_any_table_locked(self._replica, self._engine)
        except DATABASE_AWAY:
            return True

    def _event(self, delivery: Delivery) -> Event:
        if delivery.queue == self._replica.queues.dead and not delivery.dropped_bytes:
            raise DeadLettered(by_limit=gave_up_by_limit(delivery.headers))
        try:
            return decode(delivery)
        except Undecodable:
            if delivery.dropped_bytes:
                raise too_large() from None
            raise
