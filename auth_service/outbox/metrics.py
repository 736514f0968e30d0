"""What the outbox shows to Prometheus and to ``auth-service status``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.clock import LATEST
from auth_service.outbox.leadership import is_led
from auth_service.outbox.model import pipe
from auth_service.outbox.queues import QueueFigures, seen_queues
from service_kit.clock import described
from service_kit.database.clock import seconds_set_back

published = Counter(
    "usersync_relay_published",
    "Events that the relay published, by what became of them",
    ["result"],
)
replayed = Counter(
    "usersync_replay_published", "Events of replays that the broker confirmed to this process"
)
active = Gauge("usersync_relay_active", "1 while this relay is the active one")
unpublished = Gauge("usersync_outbox_unpublished", "Recorded events that are not published yet")
oldest_age = Gauge(
    "usersync_outbox_oldest_unpublished_age_seconds",
    "Age of the oldest recorded event that is not published yet; 0 when there is none",
)


# Both from the index of unpublished events: the count needs none of their rows, however many wait
# while the broker is away, and the oldest one is where the index begins.
_WAITING = text(
    """
    SELECT (SELECT count(*) FROM outbox_events WHERE published_at IS NULL) AS unpublished,
           greatest(0, coalesce(extract(epoch FROM clock_timestamp() - (
               SELECT occurred_at FROM outbox_events
               WHERE published_at IS NULL ORDER BY position LIMIT 1
           )), 0))::float AS age
    """
)

_REST = text(
    """
    SELECT identity, trouble, trouble_since, heartbeat, pruned_position,
           clock_timestamp() AS now,
           extract(epoch FROM clock_timestamp() - heartbeat_at)::float AS heartbeat_age,
           (SELECT max(position) FROM outbox_events) AS position,
           oldest.position AS oldest_position, oldest.occurred_at AS oldest_at,
           (SELECT count(*) FROM replays WHERE state IN ('running', 'paused')) AS unfinished,
           first.id AS replay, first.published AS replay_published,
           first.expected AS replay_expected
    FROM source
    LEFT JOIN (SELECT position, occurred_at FROM outbox_events ORDER BY position LIMIT 1)
        AS oldest ON true
    LEFT JOIN (SELECT id, published, expected FROM replays
               WHERE state = 'running' ORDER BY created_at, id LIMIT 1) AS first ON true
    """
)

_USERS = text(
    """
    SELECT count(*) FILTER (WHERE status <> 'deleted') AS living,
           count(*) FILTER (WHERE status = 'deleted') AS deleted
    FROM users
    """
)


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """The near end of the pipe at a glance; ages in seconds.

    ``replay`` is the one that is under way, of which so many of the expected events are out.
    Replays by position and time go back to ``oldest_position``. ``clock`` is None unless the
    database's clock was set back.
    """

    pipe: str
    source: UUID
    users: int
    users_deleted: int
    position: int | None
    unpublished: int
    oldest_unpublished_age_seconds: float
    relay: str
    trouble: str | None
    trouble_since: datetime | None
    last_heartbeat: int
    last_heartbeat_age_seconds: float | None
    oldest_position: int | None
    oldest_at: datetime | None
    pruned_position: int
    replays_unfinished: int
    replay: UUID | None
    replay_published: int | None
    replay_expected: int | None
    clock: str | None
    queues: Sequence[QueueFigures]


async def figures(connection: AsyncConnection, *, heartbeat_seconds: float) -> OutboxFigures:
    """Read the figures, all in one look; a heartbeat is expected every ``heartbeat_seconds``."""
    waiting = (await connection.execute(_WAITING)).one()
    rest = (await connection.execute(_REST)).one()
    users = (await connection.execute(_USERS)).one()
    is_active = await is_led(connection)
    return OutboxFigures(
        pipe=pipe(
            is_led=is_active,
            trouble=rest.trouble,
            unpublished=waiting.unpublished,
            oldest_age_seconds=waiting.age,
            heartbeat_age_seconds=rest.heartbeat_age,
            heartbeat_seconds=heartbeat_seconds,
            now=rest.now,
        ),
        source=rest.identity,
        users=users.living,
        users_deleted=users.deleted,
        position=rest.position,
        unpublished=waiting.unpublished,
        oldest_unpublished_age_seconds=waiting.age,
        relay="active" if is_active else "none is active",
        trouble=rest.trouble,
        trouble_since=rest.trouble_since,
        last_heartbeat=rest.heartbeat,
        last_heartbeat_age_seconds=rest.heartbeat_age,
        oldest_position=rest.oldest_position,
        oldest_at=rest.oldest_at,
        pruned_position=rest.pruned_position,
        replays_unfinished=rest.unfinished,
        replay=rest.replay,
        replay_published=rest.replay_published,
        replay_expected=rest.replay_expected,
        clock=described(await seconds_set_back(connection, LATEST)),
        queues=await seen_queues(connection),
    )


async def refresh(engine: AsyncEngine) -> None:
    """Set the gauges that come from the database."""
    async with engine.connect() as connection:
        waiting = (await connection.execute(_WAITING)).one()
    unpublished.set(waiting.unpublished)
    oldest_age.set(waiting.age)
