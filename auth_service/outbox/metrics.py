"""Read the outbox's figures, for Prometheus and for ``auth-service status``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.clock import LATEST
from auth_service.outbox.model import pipe_status
from auth_service.outbox.queues import QueueFigures, read_queues
from auth_service.outbox.table import RELAY_LEASE
from service_kit.database import lease
from service_kit.database.clock import seconds_set_back
from service_kit.process.clock import described
from service_kit.process.readings import Reading, read_again
from service_kit.process.times import time_text

published = Counter(
    "usersync_relay_published",
    "Events that the relay published, by outcome",
    ["result"],
)
replayed = Counter(
    "usersync_replay_published", "Events of replays that the broker confirmed to this process"
)
active = Gauge("usersync_relay_active", "1 while this relay is active")
unpublished = Reading("usersync_outbox_unpublished", "Recorded events that are not published yet")
set_aside = Reading(
    "usersync_outbox_set_aside",
    "Unpublished events that are set aside, and later events of the same users",
)
held = Reading("usersync_outbox_held_rows", "Rows that another session has locked")
oldest_age = Reading(
    "usersync_outbox_oldest_unpublished_age_seconds",
    "Age of the oldest recorded event that is not published yet; 0 when there is none",
)


# All from the index of unpublished events. Counting reads no rows, however large the backlog is
# while the broker is away; the oldest event is the first of one part of the index.
_WAITING = text(
    """
    SELECT (SELECT count(*) FROM outbox_events WHERE published_at IS NULL) AS unpublished,
           (SELECT count(*) FROM outbox_events WHERE published_at IS NULL AND set_aside > 0)
               AS set_aside,
           (SELECT count(*) FROM held_rows) AS held,
           (SELECT min(since) FROM held_rows) AS held_since,
           (SELECT min(since) FROM held_rows WHERE position = 0) AS source_held_since,
           greatest(0, coalesce(extract(epoch FROM clock_timestamp() - (
               SELECT min(oldest.occurred_at) FROM generate_series(0, 3) AS part
               CROSS JOIN LATERAL (
                   SELECT occurred_at FROM outbox_events
                   WHERE published_at IS NULL AND set_aside = part ORDER BY position LIMIT 1
               ) AS oldest
           )), 0))::float AS age
    """
)

_SET_ASIDE = text(
    """
    SELECT kinds.type, kinds.events, kinds.kind,
           (SELECT occurred_at FROM outbox_events WHERE position = kinds.position) AS since
    FROM (
        SELECT type, set_aside AS kind, count(*) AS events, min(position) AS position
        FROM outbox_events WHERE published_at IS NULL AND set_aside = 1 GROUP BY type, set_aside
        UNION ALL
        SELECT type, set_aside AS kind, count(*) AS events, min(position) AS position
        FROM outbox_events WHERE published_at IS NULL AND set_aside = 3 GROUP BY type, set_aside
    ) AS kinds
    ORDER BY kinds.position LIMIT :limit
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


SET_ASIDE_SHOWN_MAX: Final = 20
"""Event types that ``status`` lists; garbage may have any number of types."""

_REASONS: Final = {1: "no queue is bound for it", 3: "too large for the broker"}


@dataclass(frozen=True, slots=True)
class SetAside:
    """How many events of a type are set aside, since when, and why."""

    type: str
    events: int
    since: datetime
    reason: str

    def __str__(self) -> str:
        return f"{self.type}: {self.events:,} since {time_text(self.since)} ({self.reason})"


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """The state of the outbox, the relay and replays; ages in seconds.

    ``set_aside`` lists the event types that no queue accepts; ``events_behind`` counts later events
    of the same users. ``held_rows`` counts rows that other sessions have locked. ``replay`` is the
    replay in progress. Replays of the log go back to ``oldest_position``. ``clock`` is None unless
    the database's clock was set back.
    """

    pipe: str
    source: UUID
    users: int
    users_deleted: int
    position: int | None
    unpublished: int
    oldest_unpublished_age_seconds: float
    set_aside: tuple[SetAside, ...]
    events_behind: int
    held_rows: int
    held_since: datetime | None
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
    """Read all figures; a heartbeat is expected every ``heartbeat_seconds``."""
    waiting = (await connection.execute(_WAITING)).one()
    rest = (await connection.execute(_REST)).one()
    users = (await connection.execute(_USERS)).one()
    aside = [
        SetAside(row.type, row.events, row.since, _REASONS[row.kind])
        for row in await connection.execute(_SET_ASIDE, {"limit": SET_ASIDE_SHOWN_MAX})
    ]
    is_active = await lease.is_held(connection, RELAY_LEASE)
    return OutboxFigures(
        pipe=pipe_status(
            is_led=is_active,
            trouble=rest.trouble,
            unpublished=waiting.unpublished,
            oldest_age_seconds=waiting.age,
            heartbeat_age_seconds=rest.heartbeat_age,
            heartbeat_seconds=heartbeat_seconds,
            now=rest.now,
            set_aside=[str(each) for each in aside],
            held_rows=waiting.held,
            is_source_held=waiting.source_held_since is not None,
        ),
        source=rest.identity,
        users=users.living,
        users_deleted=users.deleted,
        position=rest.position,
        unpublished=waiting.unpublished,
        oldest_unpublished_age_seconds=waiting.age,
        set_aside=tuple(aside),
        events_behind=waiting.set_aside - sum(each.events for each in aside),
        held_rows=waiting.held,
        held_since=waiting.held_since,
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
        queues=await read_queues(connection),
    )


async def refresh(engine: AsyncEngine) -> None:
    """Set the gauges from the database; they have no values while it is away."""
    with read_again(unpublished, set_aside, held, oldest_age):
        async with engine.connect() as connection:
            waiting = (await connection.execute(_WAITING)).one()
        unpublished.set(waiting.unpublished)
        set_aside.set(waiting.set_aside)
        held.set(waiting.held)
        oldest_age.set(waiting.age)
