"""Send replays, one after the other, beside the relay and never in its way.

Runs in every relay process, on connections of its own; one of them all is active, by an advisory
lock of its own. The oldest running replay is sent first. A consumer whose queue is missing or full
is tried again later, one event at a time, and holds up no replay to another consumer.

Guarantees: how far a replay has come is noted only after the broker confirmed, so that a crash
repeats one batch at most and loses nothing; that note also tells whether an operator has paused or
cancelled it; a few events are in flight at a time, so that the relay in the same process gets its
turn every few milliseconds; without a replay to send it waits for one, and looks every few seconds.

Not here: what is sent (``batch``), how it looks (``contracts.events.envelope``).
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from auth_service.outbox import metrics
from auth_service.outbox.publisher import Outcome, Publisher, publisher
from auth_service.replays.batch import next_batch
from auth_service.replays.model import Pace, Replay, batch_limit
from auth_service.replays.progress import oldest_running, record_progress, record_trouble
from auth_service.replays.table import REPLAY_LEASE
from auth_service.settings import RelaySettings
from contracts.events.envelope import StoredEvent
from contracts.events.names import REPLAY_EXCHANGE, replay_queue
from service_kit.broker.connection import BROKER_ERRORS, in_words
from service_kit.database import lease
from service_kit.database.away import DATABASE_AWAY, DATABASE_ERRORS, is_locked
from service_kit.database.lease import Leader
from service_kit.process.backoff import pause_seconds

log = structlog.get_logger()

IN_FLIGHT_MAX: Final = 50
"""Publishing more at once gains nothing, and keeps the event loop from the relay for longer."""

LOOK_SECONDS: Final = 3.0
"""How long to wait for a wake-up before looking for replays: that, too, is only a courtesy."""

FRESH_SECONDS: Final = 1.0
"""How long events that were read may wait for their turn; a batch takes a tenth of that."""

_NO_QUEUE: Final = "no queue is bound for this consumer: it has none; has it been started yet?"
_NOT_BOUND: Final = (
    "no queue is bound for this consumer: its own is there; while it runs it binds it again within"
    " ten seconds"
)

_TROUBLE: Final = {
    Outcome.NACKED: "the consumer's replay queue refuses events: it is full",
    Outcome.UNCONFIRMED: "the broker does not confirm",
    Outcome.UNSENDABLE: "an event is too large for the broker: leave its user or type out",
}


@dataclass(frozen=True, slots=True)
class ReplayRound:
    """What one round did: how many events were confirmed, and why it got no further."""

    published: int
    refused: Outcome | None


class Replayer:
    """Sends replays for as long as its process lives: ``run``; ``run_once`` is one batch."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._pace = Pace()
        self._failures = 0  # in a row, of the database or the broker as a whole
        self._refused: dict[str, int] = {}  # times in a row, by consumer
        self._put_off: dict[str, float] = {}  # consumers that are not tried before that time

    async def run(self) -> None:
        """Replay until cancelled; a database or broker that is away is waited for."""
        while True:
            try:
                async with lease.hold(self._settings, REPLAY_LEASE) as leader:
                    await self._lead(leader)
            except DATABASE_AWAY as error:
                log.warning("replay.database_away", error=type(error).__name__)
            await self._pause()

    async def run_once(self, leader: Leader, to: Publisher, replay: Replay) -> ReplayRound:
        """Publish the next batch of ``replay`` and note how far it came."""
        began = time.monotonic()
        # While events are refused one is tried at a time: enough to see when it ends.
        limit = (
            1
            if replay.consumer in self._refused
            else batch_limit(replay.rate, self._settings.replay_batch_size)
        )
        async with leader.session() as connection:
            batch = await next_batch(connection, replay, limit)
        outcomes = await _publish(to, batch.events, replay.consumer)
        moved = batch.after([outcome is Outcome.CONFIRMED for outcome in outcomes])
        worst = (Outcome.UNCONFIRMED, Outcome.RETURNED, Outcome.NACKED, Outcome.UNSENDABLE)
        refused = next((outcome for outcome in worst if outcome in outcomes), None)
        trouble = await _trouble(to, replay.consumer, refused)
        async with leader.session() as connection:
            await record_progress(connection, replay, moved, trouble)
        metrics.replayed.inc(outcomes.count(Outcome.CONFIRMED))
        self._pace.published(replay, len(outcomes), began=began)
        _tell(replay, trouble, is_done=moved.is_done)
        return ReplayRound(moved.published, refused)

    async def _lead(self, leader: Leader) -> None:
        """Be the active one until the database goes; connect to the broker when there is work."""
        settings = self._settings
        while True:
            leader.woken.clear()
            async with leader.session() as connection:
                has_work = await oldest_running(connection) is not None
            if not has_work:
                await leader.wait(until=time.monotonic() + LOOK_SECONDS)
                continue
            try:
                async with publisher(
                    settings.amqp_url,
                    source=settings.issuer,
                    timeout_seconds=settings.publish_timeout_seconds,
                    to=REPLAY_EXCHANGE,
                ) as to:
                    if await self._send(leader, to):
                        continue
            except DATABASE_ERRORS:
                raise
            except BROKER_ERRORS as error:
                await self._note(leader, in_words(error))
            await self._pause()

    async def _send(self, leader: Leader, to: Publisher) -> bool:
        """Send what there is; False when the connection to the broker has to be a new one."""
        while True:
            leader.woken.clear()
            now = time.monotonic()
            self._put_off = {name: until for name, until in self._put_off.items() if until > now}
            async with leader.session() as connection:
                replay = await oldest_running(connection, self._put_off)
            if replay is None and not self._put_off:
                return True
            due = min(self._put_off.values()) if replay is None else self._pace.due(replay)
            if replay is None or due > now:
                await leader.wait(until=min(due, time.monotonic() + LOOK_SECONDS))
                if leader.woken.is_set():  # an operator did something: try everything anew
                    self._put_off.clear()
                continue
            if await self._try(leader, to, replay) is Outcome.UNCONFIRMED:
                return False

    async def _try(self, leader: Leader, to: Publisher, replay: Replay) -> Outcome | None:
        """Send a batch of ``replay``, or put its consumer off; why it was not confirmed."""
        try:
            done = await self.run_once(leader, to, replay)
        except (*DATABASE_AWAY, *BROKER_ERRORS) as error:
            if not is_locked(error):
                raise
            # Another session holds its row: that is this replay's problem alone.
            self._refuse(replay.consumer)
            return None
        # The live events go through this process too: whatever happens here, it goes on.
        except Exception as error:
            log.error("replay.unexpected", replay=str(replay.id), exc_info=error)
            name = type(error).__name__
            async with leader.session() as connection:
                await record_trouble(connection, replay, f"{name}: see the relay's log")
            self._refuse(replay.consumer)
            return None
        if done.refused is None:
            self._failures = 0
            self._refused.pop(replay.consumer, None)
        elif done.refused is not Outcome.UNCONFIRMED:
            self._refuse(replay.consumer)
        return done.refused

    def _refuse(self, consumer: str) -> None:
        """Let a consumer wait; the more often in a row it was refused, the longer."""
        self._refused[consumer] = self._refused.get(consumer, 0) + 1
        longest = self._settings.retry_seconds_max
        pause = pause_seconds(self._refused[consumer], longest=longest)
        self._put_off[consumer] = time.monotonic() + pause

    async def _note(self, leader: Leader, trouble: str) -> None:
        async with leader.session() as connection:
            replay = await oldest_running(connection)
            if replay is not None:
                await record_trouble(connection, replay, trouble)
        if replay is not None:
            _tell(replay, trouble, is_done=False)

    async def _pause(self) -> None:
        """Wait after a failure; the more there were in a row, the longer."""
        self._failures += 1
        longest = self._settings.retry_seconds_max
        await asyncio.sleep(pause_seconds(self._failures, longest=longest))


async def _trouble(to: Publisher, consumer: str, refused: Outcome | None) -> str | None:
    """Why events were not confirmed, in words."""
    if refused is Outcome.RETURNED:
        return _NOT_BOUND if await to.has_queue(replay_queue(consumer)) else _NO_QUEUE
    return None if refused is None else _TROUBLE[refused]


async def _publish(to: Publisher, events: Sequence[StoredEvent], consumer: str) -> list[Outcome]:
    """Publish a few at a time, until some are refused; what became of those that were tried.

    When the broker is slow the rest is left, to be read anew: its users may be deleted meanwhile.
    """
    outcomes: list[Outcome] = []
    stale = time.monotonic() + FRESH_SECONDS
    for start in range(0, len(events), IN_FLIGHT_MAX):
        some = await to.publish(events[start : start + IN_FLIGHT_MAX], routing_key=consumer)
        outcomes += some
        if any(outcome is not Outcome.CONFIRMED for outcome in some) or time.monotonic() > stale:
            break
    return outcomes


def _tell(replay: Replay, trouble: str | None, *, is_done: bool) -> None:
    """Log what changed."""
    about = {"replay": str(replay.id), "consumer": replay.consumer}
    if trouble is not None and trouble != replay.trouble:
        log.warning("replay.trouble", trouble=trouble, **about)
    elif trouble is None and replay.trouble is not None:
        log.info("replay.resumed", **about)
    if replay.started_at is None and trouble is None:
        log.info("replay.begun", **about)
    if is_done:
        log.info("replay.done", **about)
