"""Whether a consumer does its work: a process that is alive and does nothing is not ready.

Silence has several causes (a stalled broker, a frozen relay, a locked table), and looks the same
from here: nothing is applied. The source's heartbeats tell it from quiet.
"""

import time
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.inbox.activity import HEARTBEAT_SECONDS_MAX, Activity, State
from replica.inbox.waiting import MESSAGES_WAIT, kept
from service_kit.database.away import require_writable

BATCH_SECONDS_MAX: Final = 15.0
"""A batch takes well under a second; longer means that the database holds it up."""

NO_HEARTBEAT_YET: Final = "no_heartbeat_yet"
"""Nothing has ever come from the source: its relay has never run, or publishes elsewhere."""

_APPLIED_AGE = text(
    "SELECT extract(epoch FROM clock_timestamp() - max(applied_at))::float FROM heartbeats"
)


class NotConsuming(Exception):
    """The consumer takes no messages at the moment."""


class BrokerAway(NotConsuming):
    """It has no connection to the broker, or the source's exchange is not there."""


class Stopped(NotConsuming):
    """Too many messages were parked in a row; it has to be restarted."""


class NothingApplied(NotConsuming):
    """Messages are at hand, and none of them has been applied for too long."""


class NoHeartbeat(NotConsuming):
    """Three heartbeats were missed."""


async def why_degraded(
    activity: Activity, engine: AsyncEngine, *, heartbeat_seconds_max: float = HEARTBEAT_SECONDS_MAX
) -> str | None:
    """Why the consumer does its work less well than it should; None when it does.

    Parameters:
        activity: what it is at.
        engine: its database.
        heartbeat_seconds_max: from which age of the last heartbeat on the source is silent.

    Raises:
        NotConsuming: it does not do it, as the exception's name says.
        NotWritable: its database takes no changes.
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
        waiting = (await kept(connection)).messages
    # Since it began to consume the next heartbeat may have been on its way for so long.
    consuming = now - activity.consuming_since
    if consuming > heartbeat_seconds_max:
        if age is None:
            return NO_HEARTBEAT_YET
        if age > heartbeat_seconds_max:
            raise NoHeartbeat
    return MESSAGES_WAIT if waiting else None
