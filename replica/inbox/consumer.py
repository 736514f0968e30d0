"""Take messages in batches, have them settled, and acknowledge each batch at once.

Step 5 of 6, the first half.

Live events and replays come in two lanes, each with a channel of its own, so that neither holds the
other's messages up.

Guarantees: a message is acknowledged only after what it did is committed; a replay takes its turn
only while no live event waits; a broker, a source or a database that is away is waited for, with
the messages given back where they would be held too long; a stop settles what is at hand first.

Not here: what becomes of a message (``settle``), how messages come (``subscription``).
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog
from aio_pika.abc import AbstractConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.inbox import metrics
from replica.inbox.activity import Activity, State
from replica.inbox.heartbeats import note_queue_lost
from replica.inbox.locked_rows import is_any_table_locked
from replica.inbox.queue_limits import tell_limits
from replica.inbox.readiness import NotConsuming, why_degraded
from replica.inbox.retry import keep_retrying
from replica.inbox.settle import DatabaseAway, ParkedInARow, Settler
from replica.inbox.subscription import Delivery, Subscription, subscribed
from replica.inbox.topology import SourceMissing, bind_replays, declare
from replica.settings import ConsumerSettings
from replica.table import Replica
from service_kit.broker.connection import BROKER_ERRORS, connected, in_words
from service_kit.database.away import DATABASE_AWAY, ping
from service_kit.process.backoff import pause_seconds
from service_kit.process.tasks import all_of

__all__ = ["Consumer", "NotConsuming"]

log = structlog.get_logger()

DECLARE_TIMEOUT_SECONDS = 30.0
"""A new quorum queue elects its leader in under a second; a broker that is silent is away."""

REPLAY_PREFETCH_BATCHES = 2
"""One in work and one at hand. Live events come by the same connection, behind these at most."""

DECLARE_EVERY_SECONDS = 10.0
"""While connected, what is declared is declared again, for it may have been deleted: a few requests
that change nothing."""

REPLAY_EXCHANGE_EVERY_SECONDS = 2.0
"""The same, while an exchange of the source is missing: events wait for our binding."""


class Consumer:
    """The consumer process: ``run`` goes on until ``stop``."""

    def __init__(self, replica: Replica, settings: ConsumerSettings, engine: AsyncEngine) -> None:
        self._replica = replica
        self._settings = settings
        self._engine = engine
        self.activity = Activity()
        self._live = Settler(replica, settings, engine, self.activity)
        self._replays = Settler(replica, settings, engine, self.activity)
        self._stopping = asyncio.Event()
        self._failures = 0  # in a row, of whatever kind

    async def run(self) -> None:
        """Consume until ``stop``; whatever is away is waited for.

        Raises:
            WrongTopology: a queue is not as it has to be.
        """
        await all_of(
            self._consume_until_stopped(),
            keep_retrying(
                self._replica, self._settings, self._engine, self.activity, self._stopping
            ),
        )

    async def _consume_until_stopped(self) -> None:
        while not self._stopping.is_set():
            try:
                url = self._settings.amqp_url
                async with connected(
                    url, name=f"{self._settings.application_name} consumer"
                ) as connection:
                    async with asyncio.timeout(DECLARE_TIMEOUT_SECONDS):
                        await declare(
                            connection, self._replica.queues, queue_lost=self._note_queue_lost
                        )
                        has_replays = await bind_replays(connection, self._replica.queues)
                    await self._consume(connection, has_replays=has_replays)
            except SourceMissing as error:
                log.info("consumer.source_missing", reason=str(error))
            except DatabaseAway:
                log.warning("consumer.messages_given_back")
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
        """Why it does its work less well than it should, or None; see ``readiness``."""
        longest = self._settings.heartbeat_seconds_max
        return await why_degraded(self.activity, self._engine, heartbeat_seconds_max=longest)

    async def _consume(self, connection: AbstractConnection, *, has_replays: bool) -> None:
        """Work in both lanes until they are drained, or the first error, which is raised."""
        settings, queues = self._settings, self._replica.queues
        replay_prefetch = REPLAY_PREFETCH_BATCHES * settings.replay_batch_size
        async with (
            subscribed(connection, [queues.live, queues.dead], prefetch=settings.prefetch) as live,
            subscribed(connection, [queues.replay], prefetch=replay_prefetch) as replays,
        ):
            lanes = [
                self._end_when_stopping(live, replays),
                self._work_off(live),
                self._work_off_replays(replays, turn=live.idle),
                self._keep_declared(connection, has_replays=has_replays),
                tell_limits(queues, settings),
            ]
            self._enter(State.CONSUMING)
            log.info("consumer.consuming", replays=has_replays)
            try:
                await all_of(*lanes)
            finally:
                self._enter(State.WAITING)

    async def _work_off(self, subscription: Subscription) -> None:
        while batch := await subscription.next_batch(self._settings.batch_size):
            await self._settle(self._live, subscription, batch)

    async def _work_off_replays(
        self, subscription: Subscription, *, turn: Callable[[], Awaitable[None]]
    ) -> None:
        while batch := await subscription.next_batch(self._settings.replay_batch_size):
            await turn()
            await self._settle(self._replays, subscription, batch)

    async def _settle(
        self, settler: Settler, subscription: Subscription, batch: list[Delivery]
    ) -> None:
        with self.activity.busy("live" if settler is self._live else "replays"):
            outcomes = await settler.settle(batch)
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
        """Declare queues and bindings again and again, as at the start.

        A queue that was deleted has ended its subscription, and so this work; its loss is noted
        here or when the consumer has connected again, whichever comes first.
        """
        has_source = True
        every = DECLARE_EVERY_SECONDS if has_replays else REPLAY_EXCHANGE_EVERY_SECONDS
        while not await self._stops_within(every):
            async with asyncio.timeout(DECLARE_TIMEOUT_SECONDS):
                had = has_source, has_replays
                try:
                    await declare(
                        connection, self._replica.queues, queue_lost=self._note_queue_lost
                    )
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
                # Each time that messages are given back counts as a delivery of theirs.
                if not await is_any_table_locked(self._replica, self._engine):
                    return
            await self._pause()

    async def _pause(self) -> None:
        """Wait after a failure, the longer the more there were in a row, unless asked to stop."""
        self._failures += 1
        longest = self._settings.retry_seconds_max
        await self._stops_within(pause_seconds(self._failures, longest=longest))

    async def _stops_within(self, seconds: float) -> bool:
        """Wait so long for being asked to stop, and tell whether that happened."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()
