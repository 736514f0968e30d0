"""Receive messages in batches, settle each batch and acknowledge it at once.

Step 5 of 6, the first half.

Live events, copies of urgent ones, and replays come in three lanes, each with its own channel, so
that none delays another.

Guarantees: a message is acknowledged only after its effect is committed. A replay is handled only
while no live event waits. The consumer waits for a broker, source or database that is away, and
requeues messages that it would hold too long. A stop settles the messages at hand first.

Not here: what happens to a message (``settle``), how messages arrive (``subscription``).
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import uuid4

import structlog
from aio_pika.abc import AbstractConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.inbox import metrics
from replica.inbox.activity import Activity, State
from replica.inbox.heartbeats import note_queue_lost
from replica.inbox.locked_rows import is_any_table_locked
from replica.inbox.queue_limits import log_strict_limits
from replica.inbox.readiness import NotConsuming, why_degraded
from replica.inbox.retry import retry_continuously
from replica.inbox.settle import DatabaseAway, ParkedInARow, Settler
from replica.inbox.spans import sampled_steps
from replica.inbox.subscription import Subscription, subscribed
from replica.inbox.topology import SourceMissing, bind_replays, declare
from replica.settings import ConsumerSettings
from replica.table import Replica
from replica.tail.notes import Notes
from service_kit.broker.connection import BROKER_ERRORS, connected, in_words
from service_kit.broker.delivery import Delivery
from service_kit.broker.tracing import Server, server_of
from service_kit.database.alone import ping
from service_kit.database.away import DATABASE_AWAY
from service_kit.process import tracing
from service_kit.process.backoff import pause_seconds
from service_kit.process.tasks import all_of

__all__ = ["Consumer", "NotConsuming"]

log = structlog.get_logger()

DECLARE_TIMEOUT_SECONDS = 30.0
"""A new quorum queue elects its leader in under a second; a slower broker counts as away."""

REPLAY_PREFETCH_BATCHES = 2
"""One in work and one at hand. Live events share the connection and wait for these at most."""

DECLARE_EVERY_SECONDS = 10.0
"""While connected, declarations are repeated in case something was deleted: a few idempotent
requests."""

REPLAY_EXCHANGE_EVERY_SECONDS = 2.0
"""The same while an exchange of the source is missing, because events wait for the binding."""


class Consumer:
    """The consumer process: ``run`` runs until ``stop``."""

    def __init__(self, replica: Replica, settings: ConsumerSettings, engine: AsyncEngine) -> None:
        self._replica = replica
        self._settings = settings
        self._engine = engine
        self.activity = Activity()
        self.notes = Notes()
        process = uuid4()
        self._settlers = {
            lane: Settler(replica, settings, engine, self.activity, process)
            for lane in ("urgent", "live", "replays")
        }
        self._stopping = asyncio.Event()
        self._failures = 0  # in a row, of any kind
        self._server: Server | None = None

    async def run(self) -> None:
        """Consume until ``stop``, and wait for broker, source and database while they are away.

        Raises:
            WrongTopology: a queue exists with other arguments than required.
        """
        await all_of(
            self._consume_until_stopped(),
            retry_continuously(
                self._replica,
                self._settings,
                self._engine,
                self.activity,
                self.notes,
                self._stopping,
            ),
        )

    async def _consume_until_stopped(self) -> None:
        self._enter(State.WAITING)  # from the first moment, for the metric
        while not self._stopping.is_set():
            try:
                settings = self._settings
                async with connected(
                    settings.amqp_url,
                    name=f"{settings.application_name} consumer",
                    bulk=not settings.amqp_plain,
                ) as connection:
                    async with asyncio.timeout(DECLARE_TIMEOUT_SECONDS):
                        await self._declare(connection)
                        has_replays = await bind_replays(connection, self._replica.queues)
                    await self._consume(connection, has_replays=has_replays)
            except SourceMissing as error:
                log.info("consumer.source_missing", reason=str(error))
            except DatabaseAway:
                log.warning("consumer.messages_requeued")
                await self._until_database_answers()
            except ParkedInARow as error:
                log.critical("consumer.stopped", reason=str(error))
                metrics.stopped.set(1)
                self._enter(State.STOPPED)
                await self._stopping.wait()
            except BROKER_ERRORS as error:
                log.warning(
                    "consumer.broker_away", error=type(error).__name__, reason=in_words(error)
                )
            await self._pause()

    def stop(self) -> None:
        """Take no further messages, settle those at hand, and let ``run`` end."""
        self._stopping.set()

    async def ready(self) -> str | None:
        """Return why the consumer is degraded, or None; see ``readiness``."""
        longest = self._settings.heartbeat_seconds_max
        return await why_degraded(self.activity, self._engine, heartbeat_seconds_max=longest)

    async def _consume(self, connection: AbstractConnection, *, has_replays: bool) -> None:
        """Work in all lanes until they are drained, or raise the first error."""
        settings, queues = self._settings, self._replica.queues
        self._server = server_of(connection)
        replay_prefetch = REPLAY_PREFETCH_BATCHES * settings.replay_batch_size
        ahead = self._settlers["live"].read_ahead
        live_queues = [queues.live, queues.dead]
        async with (
            subscribed(connection, [queues.urgent], ahead, prefetch=settings.prefetch) as urgent,
            subscribed(connection, live_queues, ahead, prefetch=settings.prefetch) as live,
            subscribed(connection, [queues.replay], ahead, prefetch=replay_prefetch) as replays,
        ):
            lanes = [
                self._end_when_stopping(urgent, live, replays),
                self._work_off("urgent", urgent),
                self._work_off("live", live),
                self._work_off_replays(replays, turn=live.idle),
                self._keep_declared(connection, has_replays=has_replays),
                log_strict_limits(queues, settings),
            ]
            self._enter(State.CONSUMING)
            log.info("consumer.consuming", replays=has_replays)
            try:
                await all_of(*lanes)
            finally:
                self._enter(State.WAITING)

    async def _work_off(self, lane: str, subscription: Subscription) -> None:
        while batch := await subscription.next_batch(self._settings.batch_size):
            await self._settle(lane, subscription, batch)

    async def _work_off_replays(
        self, subscription: Subscription, *, turn: Callable[[], Awaitable[None]]
    ) -> None:
        while batch := await subscription.next_batch(self._settings.replay_batch_size):
            await turn()
            await self._settle("replays", subscription, batch)

    async def _settle(self, lane: str, subscription: Subscription, batch: list[Delivery]) -> None:
        began, read = time.time_ns(), subscription.read(batch)
        with self.activity.busy(lane):
            outcomes = await self._settlers[lane].settle(batch, read)
        # A replay is not part of the request that once caused the event.
        if (recorder := tracing.current()) is not None and lane != "replays":
            steps = sampled_steps(batch, read, outcomes, self._server)
            recorder.handled(steps, began=began)
        self.notes.settled(lane, batch, read, outcomes)
        for outcome, count in Counter(outcomes).items():
            metrics.messages.labels(outcome=outcome.value).inc(count)
        await subscription.acknowledge(batch)
        self._failures = 0

    def _enter(self, state: State) -> None:
        self.activity.enter(state)
        for each in State:
            metrics.state.labels(state=each.value).set(each is state)

    async def _end_when_stopping(self, *subscriptions: Subscription) -> None:
        await self._stopping.wait()
        for subscription in subscriptions:
            await subscription.end()

    async def _keep_declared(self, connection: AbstractConnection, *, has_replays: bool) -> None:
        """Repeat the declarations of the start.

        The deletion of a queue ends its subscription, and with it this connection; the loss is
        recorded here or after the reconnect, whichever comes first.
        """
        has_source = True
        every = DECLARE_EVERY_SECONDS if has_replays else REPLAY_EXCHANGE_EVERY_SECONDS
        while not await self._stops_within(every):
            async with asyncio.timeout(DECLARE_TIMEOUT_SECONDS):
                had = has_source, has_replays
                try:
                    await self._declare(connection)
                    has_source = True
                except SourceMissing as error:
                    has_source = False
                    if had[0]:
                        log.warning("consumer.source_missing", reason=str(error))
                has_replays = await bind_replays(connection, self._replica.queues)
            if has_replays and not had[1]:
                log.info("consumer.replays_bound")
            is_whole = has_source and has_replays
            every = DECLARE_EVERY_SECONDS if is_whole else REPLAY_EXCHANGE_EVERY_SECONDS

    async def _declare(self, connection: AbstractConnection) -> None:
        await declare(connection, self._replica.queues, queue_lost=self._note_queue_lost)

    async def _note_queue_lost(self) -> None:
        try:
            async with self._engine.begin() as database:
                await note_queue_lost(database)
        except DATABASE_AWAY as error:
            raise DatabaseAway from error

    async def _until_database_answers(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(*DATABASE_AWAY):
                await ping(self._engine)
                # Each requeue counts as a delivery of the messages.
                if not await is_any_table_locked(self._replica, self._engine):
                    return
            await self._pause()

    async def _pause(self) -> None:
        """Wait after a failure, longer after each in a row, or until stopped."""
        self._failures += 1
        longest = self._settings.retry_seconds_max
        await self._stops_within(pause_seconds(self._failures, longest=longest))

    async def _stops_within(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for a stop, and tell whether it was requested."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()
