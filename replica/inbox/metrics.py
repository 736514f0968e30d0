"""The inbox's metrics, and its figures for the command ``status``."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.columns import APPLIED_AT
from replica.table import Replica
from service_kit.process.readings import Reading

messages = Counter(
    "usersync_inbox_messages", "Messages that the consumer settled, by what they did", ["outcome"]
)
latency = Histogram(
    "usersync_end_to_end_latency_seconds",
    "From the record at the source to the commit in this replica",
    buckets=(0.002, 0.004, 0.006, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600),
)
waiting = Gauge(
    "usersync_waiting_keys", "Users and others whose messages wait for a lock or another try"
)
parked = Reading("usersync_parked_messages", "Messages that wait for an operator")
stopped = Gauge("usersync_consumer_stopped", "1 when too many messages were parked in a row")


heartbeat_age = Reading(
    "usersync_heartbeat_age_seconds", "Since the last applied heartbeat was recorded at the source"
)
state = Gauge("usersync_consumer_state", "1 for what the consumer is at", ["state"])


@dataclass(frozen=True, slots=True)
class InboxFigures:
    """The state of the replica and its inbox; ages in seconds.

    ``highest_version`` is the value for ``auth-service restored --floor`` after a restore.
    """

    users: int
    users_deleted: int
    users_provisional: int
    highest_version: int | None
    last_applied_at: datetime | None
    parked_messages: int
    last_heartbeat: int | None
    last_heartbeat_age_seconds: float | None


_FIGURES: Final = """
    SELECT count(*) FILTER (WHERE deleted_at IS NULL AND version > 0) AS users,
           count(*) FILTER (WHERE deleted_at IS NOT NULL) AS users_deleted,
           count(*) FILTER (WHERE deleted_at IS NULL AND version = 0) AS users_provisional,
           max(version) AS highest_version,
           {last_applied_at} AS last_applied_at,
           (SELECT count(*) FROM parked_messages) AS parked_messages,
           (SELECT max(number) FROM heartbeats) AS last_heartbeat,
           (SELECT extract(epoch FROM clock_timestamp() - max(recorded_at))::float
              FROM heartbeats) AS last_heartbeat_age_seconds
    FROM {users}
"""


_HEARTBEAT_AGE = text(
    "SELECT extract(epoch FROM clock_timestamp() - max(recorded_at))::float FROM heartbeats"
)


async def figures(replica: Replica, connection: AsyncConnection) -> InboxFigures:
    """Read all figures in one statement."""
    has_time = APPLIED_AT in replica.table.c
    # Without a time of its own, the last heartbeat's tells when something was applied last.
    at = f"max({APPLIED_AT})" if has_time else "(SELECT max(applied_at) FROM heartbeats)"
    statement = text(_FIGURES.format(users=replica.name, last_applied_at=at))
    return InboxFigures(**(await connection.execute(statement)).mappings().one())


async def refresh(connection: AsyncConnection) -> None:
    """Read the gauges from the database."""
    parked.set(await connection.scalar(text("SELECT count(*) FROM parked_messages")) or 0)
    age = await connection.scalar(_HEARTBEAT_AGE)
    heartbeat_age.set(math.nan if age is None else age)
