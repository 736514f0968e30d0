"""A relay that runs inside a test, and a queue that shows what it published."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

from aiormq.abc import DeliveredMessage
from prometheus_client import REGISTRY
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.metrics import OutboxFigures, figures
from auth_service.outbox.publisher import publisher
from auth_service.outbox.record import record
from auth_service.outbox.relay import Relay
from auth_service.outbox.table import RELAY_LEASE
from auth_service.outbox.waves import Done, Waves
from auth_service.settings import RelaySettings
from contracts.events import Beat, Event, Heartbeat, UserState, UserTombstone, UserUpdated
from contracts.events.envelope import decode
from contracts.events.names import BINDINGS, EXCHANGE
from service_kit.database.lease import Lease, hold
from tests.support.background import in_background
from tests.support.eventually import PATIENCE_SECONDS, eventually
from tests.support.inbox import OnDatabase, fetch
from tests.support.proxy import Proxy
from tests.support.source import Source
from tests.support.system import broker_behind_a_proxy

QUEUE = "spy"


class Carried:
    """A delivered message, in the shape that ``decode`` reads."""

    def __init__(self, message: DeliveredMessage) -> None:
        self.properties = message.header.properties
        self.headers: dict[str, Any] = dict(self.properties.headers or {})
        self.body = message.body
        self.routing_key = message.routing_key

    @property
    def event(self) -> Event:
        return decode(self)


def relaying(settings: RelaySettings) -> AbstractAsyncContextManager[None]:
    """Run a relay inside the block, and cancel it afterwards."""
    return in_background(Relay(settings).run())


@asynccontextmanager
async def rounds(settings: RelaySettings) -> AsyncIterator[Callable[[], Awaitable[Done]]]:
    """Lead as the active relay, one round per call, of up to a hundred users."""
    async with (
        hold(settings, RELAY_LEASE) as leader,
        publisher(
            settings.amqp_url,
            source=settings.issuer,
            timeout_seconds=settings.publish_timeout_seconds,
            plain=settings.amqp_plain,
        ) as to,
    ):
        waves = Waves(retry_seconds_max=settings.retry_seconds_max)

        async def run_once() -> Done:
            await waves.begin(leader, to, limit=100)
            return await waves.finish(leader)

        yield run_once


async def drained(run_once: Callable[[], Awaitable[Done]]) -> list[Done]:
    """Run rounds until one moves nothing; return the others."""
    done = []
    while (each := await run_once()).moved:
        done.append(each)
    return done


@asynccontextmanager
async def proxied(settings: RelaySettings) -> AsyncIterator[tuple[Proxy, RelaySettings]]:
    """Start a proxy before the broker; yield it and the settings of a relay that uses it."""
    async with broker_behind_a_proxy(settings.amqp_url) as (proxy, amqp_url):
        yield proxy, settings.model_copy(update={"amqp_url": amqp_url})


async def bind(source: Source, queue: str = QUEUE, *, kind: str = "quorum") -> None:
    """Declare a queue and bind it as a consuming service does."""
    await source.channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})
    for key in BINDINGS:
        await source.channel.queue_bind(queue, EXCHANGE, key)


async def taken(source: Source, count: int, *, within: float = 30) -> list[Carried]:
    """Take the next ``count`` messages about users from the queue, in order."""
    messages: list[Carried] = []

    async def look() -> bool:
        while len(messages) < count and (message := await source.take(QUEUE)):
            if message.routing_key != Heartbeat.type:
                messages.append(Carried(message))
        return len(messages) == count

    await eventually(look, within=within)
    return messages


async def recorded(engine: AsyncEngine, *data: UserState | UserTombstone | Beat) -> None:
    """Record an update for each of ``data``, all in one transaction."""
    async with engine.begin() as connection:
        for each in data:
            await record(connection, UserUpdated.type, each)


async def outbox(engine: AsyncEngine, user_id: UUID | None = None) -> list[Row[Any]]:
    """Read the outbox's rows about users, or one user, in order of position."""
    return await fetch(
        engine,
        "SELECT *, payload::text AS text FROM outbox_events WHERE user_id IS NOT NULL"
        " AND (user_id = :user_id OR CAST(:user_id AS uuid) IS NULL) ORDER BY position",
        user_id=user_id,
    )


async def trouble(engine: AsyncEngine) -> str | None:
    [row] = await fetch(engine, "SELECT trouble FROM source")
    found: str | None = row.trouble
    return found


async def leader(engine: AsyncEngine, lease: Lease = RELAY_LEASE) -> int | None:
    held = await fetch(
        engine,
        "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
        " AND classid::bigint = :high AND objid::bigint = :low",
        high=lease.lock_key >> 32,
        low=lease.lock_key & 0xFFFFFFFF,
    )
    return held[0].pid if held else None


def published(result: str) -> float:
    """Return how many publishes of this process had that outcome."""
    return REGISTRY.get_sample_value("usersync_relay_published_total", {"result": result}) or 0.0


def assert_all_in_order(messages: list[Carried], users: list[UUID], versions: range) -> None:
    """Check that each version of each user has come, in the order that the next function checks."""
    assert_in_order_per_user(messages)
    come = {(each.event.data.subject, each.event.data.subject_version) for each in messages}
    assert come == {(user, version) for version in versions for user in users}


def assert_in_order_per_user(messages: list[Carried]) -> None:
    """Check that first publications of each user are in order of version; repeats may come late."""
    seen: dict[UUID, list[int]] = {}
    for message in messages:
        data = message.event.data
        assert isinstance(data, UserState | UserTombstone)
        versions = seen.setdefault(data.id, [])
        if data.version not in versions:
            versions.append(data.version)
    for versions in seen.values():
        assert versions == sorted(versions)


class Pipe(OnDatabase):
    """The auth database, the settings of a relay, and the broker with a queue that shows events."""

    def __init__(self, engine: AsyncEngine, settings: RelaySettings, source: Source) -> None:
        self.engine = engine
        self.settings = settings
        self.source = source

    def changed(self, **changes: object) -> RelaySettings:
        return self.settings.model_copy(update=changes)

    def relaying(self, **changes: object) -> AbstractAsyncContextManager[None]:
        return relaying(self.changed(**changes))

    def rounds(self) -> AbstractAsyncContextManager[Callable[[], Awaitable[Done]]]:
        return rounds(self.settings)

    async def drained(self) -> list[Done]:
        """Lead and publish everything; return the rounds."""
        async with self.rounds() as run_once:
            return await drained(run_once)

    async def bind(self) -> None:
        await bind(self.source)

    async def insert(
        self, event_type: str, user_id: UUID | None = None, payload: str = "'{}'"
    ) -> None:
        """Insert an event as no service of ours records it; ``payload`` is SQL."""
        about = f"'{user_id}', 1" if user_id else "NULL, NULL"
        await self.execute(
            "INSERT INTO outbox_events (type, user_id, version, payload)"
            f" VALUES ('{event_type}', {about}, {payload})"
        )

    async def record(self, *data: UserState | UserTombstone | Beat) -> None:
        await recorded(self.engine, *data)

    async def taken(self, count: int, *, within: float = 30) -> list[Carried]:
        return await taken(self.source, count, within=within)

    async def rest(self) -> list[Carried]:
        """Take all messages about users that are left in the queue."""
        messages = [Carried(message) for message in await self.source.take_all(QUEUE)]
        return [message for message in messages if message.routing_key != Heartbeat.type]

    async def outbox(self, user_id: UUID | None = None) -> list[Row[Any]]:
        return await outbox(self.engine, user_id)

    async def all_published(self) -> bool:
        """Return whether every event about users is published."""
        return all(row.published_at is not None for row in await self.outbox())

    async def leader(self) -> int | None:
        return await leader(self.engine)

    async def figures(self, heartbeat_seconds: float = 15) -> OutboxFigures:
        """Read what ``auth-service status`` shows."""
        async with self.engine.connect() as connection:
            return await figures(connection, heartbeat_seconds=heartbeat_seconds)

    async def shows(
        self, holds: Callable[[OutboxFigures], bool], *, within: float = PATIENCE_SECONDS
    ) -> OutboxFigures:
        """Wait until this holds of the figures, and return them."""

        async def look() -> OutboxFigures:
            found = await self.figures()
            assert holds(found), found
            return found

        return await eventually(look, within=within)

    async def has_trouble(self, expected: str | None) -> None:
        """Wait until the relay stores this trouble, without what it says in parentheses."""

        async def look() -> bool:
            found = await trouble(self.engine)
            assert (found and found.partition(" (")[0]) == expected, found
            return True

        await eventually(look)
