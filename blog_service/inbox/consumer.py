"""Take messages in batches, have them settled, and acknowledge each batch at once.

Step 5 of 6, the first half.

Guarantees: a message is acknowledged only after what it did is committed; a broker, a source or a
database that is away is waited for, with the messages given back where they would be held too
long; a stop settles what is at hand first.

Not here: what becomes of a message (``settle``), how messages come (``subscription``).
"""

import asyncio
import contextlib
from collections import Counter

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.db import ask
from blog_service.inbox import metrics
from blog_service.inbox.settle import DatabaseAway, ParkedInARow, Settler
from blog_service.inbox.subscription import Subscription, subscribed
from blog_service.inbox.topology import DEAD, LIVE, SourceMissing, declare
from blog_service.settings import ConsumerSettings
from contracts.backoff import pause_seconds

log = structlog.get_logger()

CONNECT_TIMEOUT_SECONDS = 5.0

DECLARE_TIMEOUT_SECONDS = 30.0
"""A new quorum queue elects its leader in under a second; a broker that is silent is away."""


class NotConsuming(Exception):
    """The consumer takes no messages at the moment."""


class Consumer:
    """The consumer process: ``run`` goes on until ``stop``."""

    def __init__(self, settings: ConsumerSettings, engine: AsyncEngine) -> None:
        self._settings = settings
        self._engine = engine
        self._settler = Settler(settings, engine)
        self._stopping = asyncio.Event()
        self._consuming = False
        self._failures = 0  # in a row, of whatever kind

    async def run(self) -> None:
        """Consume until ``stop``; whatever is away is waited for.

        Raises:
            WrongTopology: a queue is not as it has to be.
        """
        while not self._stopping.is_set():
            try:
                connection = await aio_pika.connect(
                    self._settings.amqp_url, timeout=CONNECT_TIMEOUT_SECONDS
                )
                async with connection:
                    async with asyncio.timeout(DECLARE_TIMEOUT_SECONDS):
                        await declare(connection)
                    await self._consume(connection)
            except SourceMissing as error:
                log.info("consumer.source_missing", reason=str(error))
            except DatabaseAway:
                log.warning("consumer.messages_given_back")
                await self._until_database_answers()
            except ParkedInARow as error:
                log.critical("consumer.stopped", reason=str(error))
                metrics.stopped.set(1)
                await self._stopping.wait()
            except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
                log.warning("consumer.broker_away", error=type(error).__name__)
            except Exception as error:
                # With this very class the client library gives up what waits on a lost connection.
                if type(error) is not Exception:
                    raise
                log.warning("consumer.broker_away", error=type(error).__name__)
            await self._pause()

    def stop(self) -> None:
        """Take no further messages, settle those at hand, and let ``run`` end."""
        self._stopping.set()

    async def ready(self) -> None:
        """Raise unless messages are consumed and the database answers."""
        if not self._consuming:
            raise NotConsuming
        await ask(self._engine)

    async def _consume(self, connection: AbstractConnection) -> None:
        prefetch = self._settings.prefetch
        async with subscribed(connection, [LIVE, DEAD], prefetch=prefetch) as subscription:
            ending = asyncio.create_task(self._end_when_stopping(subscription))
            self._consuming = True
            log.info("consumer.consuming")
            try:
                while batch := await subscription.next_batch(self._settings.batch_size):
                    for outcome, count in Counter(await self._settler.settle(batch)).items():
                        metrics.messages.labels(outcome=outcome.value).inc(count)
                    await subscription.acknowledge(batch)
                    self._failures = 0
            finally:
                self._consuming = False
                ending.cancel()

    async def _end_when_stopping(self, subscription: Subscription) -> None:
        await self._stopping.wait()
        await subscription.end()

    async def _until_database_answers(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(SQLAlchemyError, OSError):
                await ask(self._engine)
                return
            await self._pause()

    async def _pause(self) -> None:
        """Wait after a failure, the longer the more there were in a row, unless asked to stop."""
        self._failures += 1
        longest = self._settings.retry_seconds_max
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_seconds(self._failures, longest=longest)):
                await self._stopping.wait()
