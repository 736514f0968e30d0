"""What the outbox shows to Prometheus and to ``auth-service status``."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.leadership import is_led

published = Counter(
    "usersync_relay_published",
    "Events that the relay published, by what became of them",
    ["result"],
)
active = Gauge("usersync_relay_active", "1 while this relay is the active one")
unpublished = Gauge("usersync_outbox_unpublished", "Recorded events that are not published yet")
oldest_age = Gauge(
    "usersync_outbox_oldest_unpublished_age_seconds",
    "Age of the oldest recorded event that is not published yet; 0 when there is none",
)


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """The near end of the pipe at a glance; ages in seconds."""

    source: UUID
    position: int | None
    unpublished: int
    oldest_unpublished_age_seconds: float
    relay: str
    trouble: str | None
    trouble_since: datetime | None
    last_heartbeat: int
    last_heartbeat_age_seconds: float | None


async def figures(connection: AsyncConnection) -> OutboxFigures:
    """Read the figures, all in one look."""
    waiting = await connection.execute(
        text(
            "SELECT count(*) AS unpublished, coalesce(extract(epoch FROM"
            " clock_timestamp() - min(occurred_at)), 0)::float AS age"
            " FROM outbox_events WHERE published_at IS NULL"
        )
    )
    unpublished_count, age = waiting.one()
    rest = await connection.execute(
        text(
            "SELECT identity, trouble, trouble_since, heartbeat,"
            " (SELECT max(position) FROM outbox_events) AS position,"
            " extract(epoch FROM clock_timestamp() - heartbeat_at)::float AS heartbeat_age"
            " FROM source"
        )
    )
    source = rest.one()
    return OutboxFigures(
        source=source.identity,
        position=source.position,
        unpublished=unpublished_count,
        oldest_unpublished_age_seconds=max(0.0, age),
        relay="active" if await is_led(connection) else "none is active",
        trouble=source.trouble,
        trouble_since=source.trouble_since,
        last_heartbeat=source.heartbeat,
        last_heartbeat_age_seconds=source.heartbeat_age,
    )


async def refresh(engine: AsyncEngine) -> None:
    """Set the gauges that come from the database."""
    async with engine.connect() as connection:
        now = await figures(connection)
    unpublished.set(now.unpublished)
    oldest_age.set(now.oldest_unpublished_age_seconds)
