"""A replayer that runs inside a test, and a queue that shows what it sends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from pamqp.common import FieldTable
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.replays.change_state import change_state
from auth_service.replays.model import Plan, Replay, Selection, State, TargetState
from auth_service.replays.plan import plan
from auth_service.replays.read import replay_by_id
from auth_service.replays.replayer import Replayer
from auth_service.replays.start import start
from auth_service.settings import RelaySettings
from contracts.events.names import REPLAY_EXCHANGE
from contracts.sync.replay_limits import RATE_MAX
from service_kit.process.tasks import end_tasks
from tests.support.database_sessions import reading
from tests.support.eventually import eventually
from tests.support.inbox import execute
from tests.support.relaying import Carried, Pipe
from tests.support.source import Source

CONSUMER = "spy"
ACTOR = "operator:test"
AUDITED = (
    "SELECT action, actor, details->>'via' AS via, request_id FROM audit_log"
    " WHERE action LIKE 'replay_%' ORDER BY id"
)
"""What the source's audit log says about replays."""


@asynccontextmanager
async def replaying(settings: RelaySettings) -> AsyncIterator[asyncio.Task[None]]:
    """Run a replayer inside the block, and cancel it afterwards."""
    running = asyncio.create_task(Replayer(settings).run())
    try:
        yield running
    finally:
        await killed(running)


async def killed(running: asyncio.Task[None]) -> None:
    """Cancel the task wherever it is."""
    await end_tasks(running)
    with suppress(asyncio.CancelledError):
        running.result()


async def bind_replays(
    source: Source, consumer: str = CONSUMER, *, arguments: FieldTable | None = None
) -> str:
    """Declare a consumer's replay queue, and bind it as the consumer does; return its name."""
    queue = f"{consumer}.{REPLAY_EXCHANGE}"
    kind: FieldTable = {"x-queue-type": "quorum"}
    await source.channel.exchange_declare(REPLAY_EXCHANGE, exchange_type="direct", durable=True)
    await source.channel.queue_declare(queue, durable=True, arguments=arguments or kind)
    await source.channel.queue_bind(queue, REPLAY_EXCHANGE, consumer)
    return queue


async def insert_replays(engine: AsyncEngine, count: int = 1, **values: object) -> None:
    """Insert replays of the whole log, running unless ``values`` differ, which are SQL."""
    row = {"consumer": "'blog'", "of": "'log'", "rate": 1, "requested_by": "'x'", "expected": 1}
    row |= values
    await execute(
        engine,
        f"INSERT INTO replays ({', '.join(row)})"
        f" SELECT {', '.join(map(str, row.values()))} FROM generate_series(1, {count})",
    )


async def started(engine: AsyncEngine, settings: RelaySettings, **request: Any) -> Replay:
    """Start a replay, at the highest rate by default."""
    return await start(engine, await planned(settings, **request), actor=ACTOR)


async def planned(
    settings: RelaySettings, *, consumer: str = CONSUMER, rate: int = RATE_MAX, **selection: Any
) -> Plan:
    return await plan(settings, consumer=consumer, selection=Selection(**selection), rate=rate)


def positions(messages: Iterable[Carried]) -> list[int]:
    """Return the positions of the messages' events in the log."""
    return [int(message.headers["cloudEvents_sequence"]) for message in messages]


async def fill(engine: AsyncEngine, events: int) -> None:
    """Record that many events, each of another user."""
    await execute(
        engine,
        "INSERT INTO outbox_events (type, user_id, version, payload, published_at)"
        " SELECT 'user.created', gen_random_uuid(), n,"
        f" json_build_object('number', n), now() FROM generate_series(1, {events}) AS n",
    )


class Replays(Pipe):
    """A relay's database and settings, and a broker with a consumer's queue for replays."""

    queue = f"{CONSUMER}.{REPLAY_EXCHANGE}"

    async def fill(self, events: int) -> None:
        await fill(self.engine, events)

    async def plan(self, **selection: Any) -> Plan:
        return await planned(self.settings, **selection)

    async def start(self, **request: Any) -> Replay:
        return await started(self.engine, self.settings, **request)

    async def change(self, requested: Replay, state: TargetState, actor: str = ACTOR) -> Replay:
        return await change_state(self.engine, requested.id, state, actor=actor)

    async def read(self, requested: Replay) -> Replay:
        return await reading(self.engine, replay_by_id, requested.id)

    async def until(self, requested: Replay, holds: Callable[[Replay], bool]) -> Replay:
        """Wait until this holds of the replay, and return it."""

        async def look() -> Replay:
            found = await self.read(requested)
            assert holds(found), f"{found.state}, {found.published} sent, {found.trouble}"
            return found

        return await eventually(look)

    async def is_done(self, requested: Replay) -> Replay:
        return await self.until(requested, lambda found: found.state == State.DONE)

    async def has_sent(self, requested: Replay, events: int) -> Replay:
        """Wait until that many of its events, or more, are confirmed."""
        return await self.until(requested, lambda found: found.published >= events)

    async def is_troubled(self, requested: Replay, trouble: str) -> Replay:
        return await self.until(requested, lambda found: trouble in (found.trouble or ""))

    def replaying(self) -> AbstractAsyncContextManager[asyncio.Task[None]]:
        return replaying(self.settings)

    async def received(self, queue: str = f"{CONSUMER}.{REPLAY_EXCHANGE}") -> list[Carried]:
        """Take all messages from a queue, in order."""
        return [Carried(message) for message in await self.source.take_all(queue)]

    async def positions(self) -> list[int]:
        """Take all messages; return the positions of their events."""
        return positions(await self.received())

    async def sent(self, **request: Any) -> list[Carried]:
        """Return the messages of a replay, once it is done."""
        requested = await self.start(**request)
        async with self.replaying():
            await self.is_done(requested)
        return await self.received()
