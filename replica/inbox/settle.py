"""Settle a batch: apply it in one transaction, and park messages that are at fault.

Step 5 of 6, the second half.

Guarantees: while the database is away or a whole table is locked, messages wait and none is parked.
A message that needs a row locked by another session is set aside, and the others are applied within
seconds. Only a message whose own data is at fault is parked, alone. A message that crashes the
process is parked after a few counted attempts, without its neighbours. Many messages parked in a
row for the same reason stop the consumer, because then the code is at fault.

Not here: what an event does (``apply``), retries of messages set aside (``retry``),
acknowledgements (``consumer``).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import zip_longest
from typing import TypeVar
from uuid import UUID, uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events import Event, UserDeleted, UserEvent
from contracts.events.envelope import Undecodable, decode, legible_ids, too_large
from contracts.sync.merge import Outcome
from replica.inbox import metrics
from replica.inbox.activity import Activity
from replica.inbox.apply import apply, apply_alone
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
from replica.inbox.waiting import event_of, key_of, set_aside
from replica.settings import ConsumerSettings
from replica.table import Replica
from service_kit.broker.delivery import Delivery
from service_kit.database.away import DATABASE_AWAY
from service_kit.process.backoff import pause_seconds

log = structlog.get_logger()

T = TypeVar("T")

HELD_PAUSE_SECONDS = 0.2
"""The pause before a message that met a lock is tried in another way; most locks are gone then."""


class DatabaseAway(ConnectionError):
    """The database was away for too long: the messages must be requeued."""


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
        process: UUID | None = None,
    ) -> None:
        """Create one.

        Parameters:
            process: by which tries are counted: the same for all lanes of a process, because a
                message may come in two of them.
        """
        self._replica = replica
        self._settings = settings
        self._engine = engine
        self._activity = activity or Activity()
        self._process = process or uuid4()
        self._last_verdict: Verdict | None = None
        self._parked_in_a_row = 0

    def read_ahead(self, delivery: Delivery) -> Event | None:
        """Return the event of a message before its turn; None if it is to be read in its turn.

        A redelivered message may have crashed a process; its attempt is counted first.
        """
        if delivery.redelivered or delivery.queue == self._replica.queues.dead:
            return None
        return event_of(delivery)

    async def settle(
        self, batch: list[Delivery], read: Sequence[Event | None] = ()
    ) -> list[Outcome]:
        """Apply or park each message of ``batch`` and return the outcomes, in order.

        A redelivered message is the only one of its batch.

        Parameters:
            batch: the messages.
            read: what ``read_ahead`` has returned for each of them; none if nobody has called it.

        Raises:
            DatabaseAway: the batch may be settled in part; requeue all of it.
            ParkedInARow: likewise; the code is at fault.
        """
        if batch[0].redelivered:
            return [await self._settle_suspect(batch[0])]
        if not self._activity.waiting_keys:
            return await self._settle_together(batch, read)
        behind = [index for index, each in enumerate(batch) if self._is_behind(event_of(each))]
        return await self._settle_around(behind, batch, self._settle_together)

    async def _settle_together(
        self, batch: list[Delivery], read: Sequence[Event | None] = ()
    ) -> list[Outcome]:
        try:
            return await self._patiently(lambda: self._apply(batch, read))
        except RowHeld:
            held = await self._patiently(lambda: self._held(batch), holds=False)
            return await self._settle_around(held, batch, self._settle_briefly)
        except Exception as error:
            if not is_messages_fault(error):
                raise
        return [await self._settle_alone(delivery) for delivery in batch]

    async def _settle_briefly(self, batch: list[Delivery]) -> list[Outcome]:
        """Settle ``batch``, in which few messages, if any, need a lock of another session."""
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
        """Set the messages at the indexes ``held`` aside, and ``settle`` the others."""
        others = [index for index in range(len(batch)) if index not in held]
        await self._set_aside([batch[index] for index in held], Wait.ROW_HELD)
        outcomes = dict.fromkeys(held, Outcome.SET_ASIDE)
        if others:
            settled = await settle([batch[index] for index in others])
            outcomes.update(zip(others, settled, strict=True))
        return [outcomes[index] for index in range(len(batch))]

    async def _held(self, batch: list[Delivery]) -> list[int]:
        """Return the indexes of messages whose user another session has locked."""
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
        """Tell whether an earlier message with the same key is already set aside."""
        return event is not None and key_of(event) in self._activity.waiting_keys

    async def _settle_suspect(self, delivery: Delivery) -> Outcome:
        """Count the attempt, then try a message that may have crashed a process."""

        async def count() -> int:
            async with self._engine.begin() as connection:
                # While a table is locked, no attempt counts, even if this process ends meanwhile.
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
            # Several consumers may requeue a message to each other any number of times.
            await self._forget_attempts(delivery)
            raise

    async def _settle_alone(self, delivery: Delivery) -> Outcome:
        """Apply one message in its own transaction.

        Park it if it is at fault; set it aside if it needs a lock of another session.
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
        """Store messages in the database, from where they are retried."""

        async def store() -> None:
            async with self._engine.begin() as connection:
                for delivery in batch:
                    await set_aside(connection, delivery, reason)

        if batch:
            await self._patiently(store, holds=False)
            for delivery in batch:
                log.warning("message.set_aside", reason=reason, **legible_ids(delivery))
            events = (event_of(delivery) for delivery in batch)
            self._activity.waiting_keys |= {key_of(event) for event in events if event is not None}
        for delivery in batch:
            if delivery.redelivered:
                await self._forget_attempts(delivery)
        return Outcome.SET_ASIDE

    async def _forget_attempts(self, delivery: Delivery) -> None:
        """Delete the count of attempts, since this process has survived its try."""
        with contextlib.suppress(*DATABASE_AWAY):
            async with self._engine.begin() as connection:
                await shorten_lock_timeout(connection)
                await clear_attempts(connection, message_hash(delivery))

    async def _apply(
        self, batch: list[Delivery], read: Sequence[Event | None] = (), *, briefly: bool = False
    ) -> list[Outcome]:
        """Apply all of ``batch`` in one transaction.

        Parameters:
            batch: the messages.
            read: their events as far as they have been read.
            briefly: use the short lock timeout.
        """
        events = [event or self._event(delivery) for delivery, event in zip_longest(batch, read)]
        outcomes = None
        if not (briefly or batch[0].redelivered):
            outcomes = await apply_alone(self._replica, self._engine, events)
        if outcomes is None:
            async with self._engine.begin() as connection:
                if briefly:
                    await shorten_lock_timeout(connection)
                outcomes = await apply(self._replica, connection, events)
                if batch[0].redelivered:
                    await clear_attempts(connection, message_hash(batch[0]))
        if any(isinstance(event, UserEvent) for event in events):
            self._last_verdict = None  # other events can be applied even if all users fail
        now, queues = time.time(), self._replica.queues
        self._activity.applied += len(events)
        for delivery, event, outcome in zip(batch, events, outcomes, strict=True):
            # Replayed events were recorded long ago and say nothing about the latency.
            if delivery.queue in (queues.live, queues.urgent) and outcome is Outcome.APPLIED:
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
        log.warning(
            "message.parked", reason=found.reason, error=found.error, **legible_ids(delivery)
        )
        # Dead letters say nothing about our code.
        if delivery.queue == self._replica.queues.dead:
            return Outcome.PARKED
        self._parked_in_a_row = self._parked_in_a_row + 1 if found == self._last_verdict else 1
        self._last_verdict = found
        if self._parked_in_a_row >= self._settings.parked_in_a_row_max:
            raise ParkedInARow(
                f"{self._parked_in_a_row} messages in a row were parked: {found.reason}"
                f" ({found.error}); fix the cause and restart the consumer"
            )
        return Outcome.PARKED

    async def _patiently(self, operation: Callable[[], Awaitable[T]], *, holds: bool = True) -> T:
        """Retry ``operation`` while the database is away, up to the patience for held messages.

        Parameters:
            operation: opens its own transactions.
            holds: whether a lock timeout ends the retries.

        Raises:
            RowHeld: another session holds a row or lock that it needs, but not a whole table.
            DatabaseAway: the database was away for too long.
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
        """Tell whether all messages must wait; True also if the database does not respond."""
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
