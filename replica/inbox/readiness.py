"""Decide whether a consumer is ready: a process that runs but applies nothing is not.

A stalled broker, a frozen relay and a locked table look the same from here: nothing is applied. The
source's heartbeats distinguish this from a quiet period.
"""

import time
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.inbox.activity import HEARTBEAT_SECONDS_MAX, Activity, State
from replica.inbox.waiting import MESSAGES_WAIT, summary
from service_kit.database.away import require_writable

BATCH_SECONDS_MAX: Final = 15.0
"""A batch takes well under a second; longer means that the database blocks it."""

NO_HEARTBEAT_YET: Final = "no_heartbeat_yet"
"""No heartbeat has ever arrived: the relay has never run, or publishes elsewhere."""

_APPLIED_AGE = text(
    "SELECT extract(epoch FROM clock_timestamp() - max(applied_at))::float FROM heartbeats"
)


class NotConsuming(Exception):
    """The consumer is not handling messages."""


class BrokerAway(NotConsuming):
    """There is no connection to the broker, or the source's exchange is missing."""


class Stopped(NotConsuming):
    """Too many messages were parked in a row; the consumer must be restarted."""


class NothingApplied(NotConsuming):
    """A batch is at hand, and has not been applied for too long."""


class NoHeartbeat(NotConsuming):
    """Three heartbeats were missed."""


async def why_degraded(
    activity: Activity, engine: AsyncEngine, *, heartbeat_seconds_max: float = HEARTBEAT_SECONDS_MAX
) -> str | None:
    """Return why the consumer is degraded; None if it is not.

    Parameters:
        activity: the consumer's state.
        engine: its database.
        heartbeat_seconds_max: the age of the last heartbeat above which the source is silent.

    Raises:
        NotConsuming: the consumer is not ready, as the exception's class says.
        NotWritable: its database is read-only.
    """
    if activity.state is State.STOPPED:
        raise Stopped
    if activity.state is not State.CONSUMING:
        raise BrokerAway
    now = time.monotonic()
    if activity.busy_since and now - min(activity.busy_since.values()) > BATCH_SECONDS_MAX:
        raise NothingApplied
    async with engine.connect() as connection:
        await require_writable(connection)
        age: float | None = await connection.scalar(_APPLIED_AGE)
        waiting = (await summary(connection)).messages
    # After consuming has started, the next heartbeat may take this long.
    consuming = now - activity.consuming_since
    if consuming > heartbeat_seconds_max:
        if age is None:
            return NO_HEARTBEAT_YET
        if age > heartbeat_seconds_max:
            raise NoHeartbeat
    return MESSAGES_WAIT if waiting else None
