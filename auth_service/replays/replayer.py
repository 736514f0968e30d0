"""Send replays, one after the other, without delaying the relay.

Runs in every relay process, on connections of its own; one replayer is active, by a lease of its
own. It sends the oldest running replay first. If a consumer's queue is missing or full, the replay
is retried later, one event at a time, and replays to other consumers continue.

Guarantees: a checkpoint is recorded only after the broker confirmed, so a crash repeats at most one
batch and loses nothing. Recording it also shows whether an operator paused or cancelled the replay.
Only a few events are in flight at a time, so the relay in the same process gets its turn every few
milliseconds. Without a replay to send, it waits for a wake-up and polls every few seconds.

Not here: reading the events (``batch``), making messages of them (``contracts.events.envelope``).
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from auth_service.outbox import metrics
from auth_service.outbox.publisher import Outcome, Publisher, publisher
from auth_service.replays.batch import Batch, Checkpoint, next_batch
from auth_service.replays.model import Pace, Replay, batch_limit
from auth_service.replays.progress import oldest_running, record_progress, record_trouble
from auth_service.replays.table import REPLAY_LEASE
from auth_service.settings import RelaySettings
from contracts.events.names import REPLAY_EXCHANGE, replay_queue
from service_kit.broker.connection import BROKER_ERRORS, in_words
from service_kit.database import lease
from service_kit.database.away import DATABASE_AWAY, DATABASE_ERRORS, is_locked
from service_kit.database.lease import Leader
from service_kit.process.backoff import backoff_seconds, pause_seconds
from service_kit.process.tasks import end_tasks

log = structlog.get_logger()

WRITTEN_AT_ONCE: Final = 50
"""Events. They take a millisecond to write; more would block the relay's event loop for longer."""

WRITES_IN_FLIGHT: Final = 4
"""So the broker always has some to confirm, and no long row of them before a live event."""

POLL_SECONDS: Final = 3.0
"""The longest wait for a wake-up before polling: wake-ups are best effort."""

REFUSALS_MAX: Final = 2
"""How often in a row a queue may refuse on one connection before another is opened."""

FRESH_SECONDS: Final = 1.0
"""How old events that were read may become before they are published; a batch takes a tenth."""

_NO_QUEUE: Final = (
    "no queue is bound for this consumer: it has no queue; start the consumer, or check its name"
)
_NOT_BOUND: Final = (
    "no queue is bound for this consumer: its queue exists; a running consumer binds it within"
    " ten seconds"
)

_TROUBLE: Final = {
    Outcome.NACKED: (
        "the consumer's replay queue refuses events: it is full, or most of its nodes are away"
    ),
    Outcome.UNCONFIRMED: "the broker does not confirm",
    Outcome.UNSENDABLE: "an event is too large for the broker: leave its user or type out",
}


@dataclass(frozen=True, slots=True)
class ReplayRound:
    """The result of one batch: how many events were confirmed, and the outcome that stopped it."""

    published: int
    refused: Outcome | None


@dataclass(frozen=True, slots=True)
class _Read:
    """A batch of at most ``limit`` events, and when it was read, in monotonic seconds."""

    replay: UUID
    limit: int
    batch: Batch
    at: float

    @property
    def stale_at(self) -> float:
        """When its events must have been published: their users may be deleted meanwhile."""
        return self.at + FRESH_SECONDS

    def serves(self, replay: Replay, limit: int) -> bool:
        """Whether it is what a read would find now, but for what was deleted since."""
        return (
            (self.replay, self.limit) == (replay.id, limit)
            and self.batch.begin == Checkpoint(replay.done_position, replay.done_user_id)
            and time.monotonic() < self.stale_at
        )


class Replayer:
    """The replayer: ``run`` repeats ``run_once``, one batch, until cancelled."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._pace = Pace()
        self._ahead: _Read | None = None
        self._failures = 0  # in a row, of the database or the broker as a whole
        self._refused: dict[str, int] = {}  # times in a row, by consumer
        self._postponed: dict[str, float] = {}  # consumers, and when to retry each

    async def run(self) -> None:
        """Replay until cancelled; wait while the database or the broker is away."""
        while True:
            try:
                async with lease.hold(self._settings, REPLAY_LEASE) as leader:
                    await self._lead(leader)
            except DATABASE_AWAY as error:
                log.warning("replay.database_away", error=type(error).__name__)
            await self._pause()

    async def run_once(self, leader: Leader, to: Publisher, replay: Replay) -> ReplayRound:
        """Publish the next batch of ``replay``, and record its progress."""
        began = time.monotonic()
        # While events are refused, try one at a time: enough to see when that ends.
        limit = (
            1
            if replay.consumer in self._refused
            else batch_limit(replay.rate, self._settings.replay_batch_size)
        )
        read, self._ahead = self._ahead, None
        if read is None or not read.serves(replay, limit):
            read = await _read(leader, replay, limit)
        batch = read.batch
        publishing = asyncio.create_task(_publish(to, read, replay.consumer))
        try:
            # The next batch is read while this one is on its way, unless it has to wait anyway.
            if limit == self._settings.replay_batch_size and not batch.is_last:
                self._ahead = await _read(
                    leader, replay.resumed_at(batch.end.position, batch.end.user_id), limit
                )
            outcomes = await publishing
        finally:
            await end_tasks(publishing)
        progress = batch.after([outcome is Outcome.CONFIRMED for outcome in outcomes])
        worst = (Outcome.UNCONFIRMED, Outcome.RETURNED, Outcome.NACKED, Outcome.UNSENDABLE)
        refused = next((outcome for outcome in worst if outcome in outcomes), None)
        trouble = await _explain(to, replay.consumer, refused)
        async with leader.session() as connection:
            await record_progress(connection, replay, progress, trouble)
        metrics.replayed.inc(outcomes.count(Outcome.CONFIRMED))
        self._pace.published(replay, len(outcomes), began=began)
        _log_changes(replay, trouble, is_done=progress.is_done)
        return ReplayRound(progress.published, refused)

    async def _lead(self, leader: Leader) -> None:
        """Lead until the database is lost; connect to the broker while there is work."""
        settings = self._settings
        while True:
            leader.woken.clear()
            async with leader.session() as connection:
                has_work = await oldest_running(connection) is not None
            if not has_work:
                await leader.wait(until=time.monotonic() + POLL_SECONDS)
                continue
            try:
                async with publisher(
                    settings.amqp_url,
                    source=settings.issuer,
                    timeout_seconds=settings.publish_timeout_seconds,
                    to=REPLAY_EXCHANGE,
                    plain=settings.amqp_plain,
                ) as to:
                    if await self._send(leader, to):
                        continue
            except DATABASE_ERRORS:
                raise
            except BROKER_ERRORS as error:
                await self._record_broker_trouble(leader, in_words(error))
            await self._pause()

    async def _send(self, leader: Leader, to: Publisher) -> bool:
        """Send running replays; return when the broker connection must be replaced.

        Returns:
            Whether to replace it at once: there is nothing to send, or a queue keeps refusing,
            which it may do on one connection only (``Relay``).
        """
        while True:
            leader.woken.clear()
            now = time.monotonic()
            self._postponed = {
                name: until for name, until in self._postponed.items() if until > now
            }
            async with leader.session() as connection:
                replay = await oldest_running(connection, self._postponed)
            if replay is None and not self._postponed:
                return True
            due = min(self._postponed.values()) if replay is None else self._pace.due(replay)
            if replay is None or due > now:
                await leader.wait(until=min(due, time.monotonic() + POLL_SECONDS))
                if leader.woken.is_set():  # an operator changed something: retry at once
                    self._postponed.clear()
                continue
            refused = await self._try(leader, to, replay)
            if refused is Outcome.UNCONFIRMED:
                return False
            if refused is Outcome.NACKED and self._refused[replay.consumer] > REFUSALS_MAX:
                return True

    async def _try(self, leader: Leader, to: Publisher, replay: Replay) -> Outcome | None:
        """Send a batch of ``replay``, or postpone its consumer; return what stopped it."""
        try:
            done = await self.run_once(leader, to, replay)
        except (*DATABASE_AWAY, *BROKER_ERRORS) as error:
            if not is_locked(error):
                raise
            # Another session has locked its row, which concerns only this replay.
            self._postpone(replay.consumer)
            return None
        # This process also publishes live events, so no fault here may end it.
        except Exception as error:
            log.error("replay.unexpected", replay=str(replay.id), exc_info=error)
            name = type(error).__name__
            async with leader.session() as connection:
                await record_trouble(connection, replay, f"{name}: see the relay's log")
            self._postpone(replay.consumer)
            return None
        if done.refused is None:
            self._failures = 0
            self._refused.pop(replay.consumer, None)
        elif done.refused is not Outcome.UNCONFIRMED:
            self._postpone(replay.consumer)
        return done.refused

    def _postpone(self, consumer: str) -> None:
        """Postpone a consumer; the pause grows with each refusal in a row."""
        self._refused[consumer] = self._refused.get(consumer, 0) + 1
        longest = self._settings.retry_seconds_max
        pause = backoff_seconds(self._refused[consumer], longest=longest)
        self._postponed[consumer] = time.monotonic() + pause

    async def _record_broker_trouble(self, leader: Leader, trouble: str) -> None:
        async with leader.session() as connection:
            replay = await oldest_running(connection)
            if replay is not None:
                await record_trouble(connection, replay, trouble)
        if replay is not None:
            _log_changes(replay, trouble, is_done=False)

    async def _pause(self) -> None:
        """Wait after a failure; the pause grows with each failure in a row."""
        self._failures += 1
        longest = self._settings.retry_seconds_max
        await asyncio.sleep(pause_seconds(self._failures, longest=longest))


async def _explain(to: Publisher, consumer: str, refused: Outcome | None) -> str | None:
    """Explain why events were not confirmed."""
    if refused is Outcome.RETURNED:
        return _NOT_BOUND if await to.has_queue(replay_queue(consumer)) else _NO_QUEUE
    return None if refused is None else _TROUBLE[refused]


async def _read(leader: Leader, replay: Replay, limit: int) -> _Read:
    at = time.monotonic()
    async with leader.session() as connection:
        return _Read(replay.id, limit, await next_batch(connection, replay, limit), at)


async def _publish(to: Publisher, read: _Read, consumer: str) -> list[Outcome]:
    """Publish a few at a time until some are refused; return the outcomes of those tried.

    If the broker is slow, leave the rest to the next read.
    """
    outcomes: list[Outcome] = []
    events = read.batch.events
    in_flight: deque[asyncio.Task[list[Outcome]]] = deque()
    try:
        for start in range(0, len(events), WRITTEN_AT_ONCE):
            if len(in_flight) == WRITES_IN_FLIGHT:
                some = await in_flight.popleft()
                outcomes += some
                is_refused = any(outcome is not Outcome.CONFIRMED for outcome in some)
                if is_refused or time.monotonic() > read.stale_at:
                    break
            group = events[start : start + WRITTEN_AT_ONCE]
            in_flight.append(asyncio.create_task(to.publish(group, routing_key=consumer)))
        while in_flight:
            outcomes += await in_flight.popleft()
    finally:
        await end_tasks(*in_flight)
    return outcomes


def _log_changes(replay: Replay, trouble: str | None, *, is_done: bool) -> None:
    """Log that a replay started, stopped making progress, resumed or is done."""
    about = {"replay": str(replay.id), "consumer": replay.consumer}
    if trouble is not None and trouble != replay.trouble:
        log.warning("replay.trouble", trouble=trouble, **about)
    elif trouble is None and replay.trouble is not None:
        log.info("replay.resumed", **about)
    if replay.started_at is None and trouble is None:
        log.info("replay.begun", **about)
    if is_done:
        log.info("replay.done", **about)
