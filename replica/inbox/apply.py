"""Apply events to the replica's database, all or none. The caller owns the transaction.

Step 6 of 6.

Guarantees: live, redelivered and redriven messages go through this same code; only batches of
living users' live events take a shorter way to the same statement. A deletion erases the
user's parked messages in the same transaction. Each heartbeat expires old parked messages without
an identifiable user.
"""

from collections.abc import Sequence
from functools import partial

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.events import (
    Event,
    Heartbeat,
    KeyRevoked,
    ServiceChanged,
    UserEvent,
    UserState,
    UserTombstone,
)
from contracts.sync.merge import Outcome
from replica.inbox.heartbeats import follow
from replica.inbox.parking import erase, expire
from replica.keys.revoke import revoke
from replica.locks import lock
from replica.services.keep import keep
from replica.table import Replica
from service_kit.database.alone import fetch_alone
from service_kit.database.away import sqlstate
from service_kit.database.engines import ends_session


async def apply(
    replica: Replica, connection: AsyncConnection, events: Sequence[Event]
) -> list[Outcome]:
    """Merge ``events`` into the replica and return the outcome of each, in order."""
    of_users = [event for event in events if isinstance(event, UserEvent)]
    done = iter(await _apply_users(replica, connection, of_users))
    of_services = [event.data for event in events if isinstance(event, ServiceChanged)]
    kept = iter(await keep(connection, of_services))
    outcomes = []
    for event in events:
        match event:
            case Heartbeat():
                outcomes.append(await follow(connection, event))
                await expire(connection)
            case KeyRevoked():
                is_news = await revoke(connection, event.data)
                outcomes.append(Outcome.APPLIED if is_news else Outcome.UNCHANGED)
            case ServiceChanged():
                outcomes.append(Outcome.APPLIED if next(kept) else Outcome.UNCHANGED)
            case _:
                outcomes.append(next(done))
    return outcomes


async def apply_alone(
    replica: Replica, engine: AsyncEngine, events: Sequence[Event]
) -> list[Outcome] | None:
    """Apply ``events`` in one statement, if that is possible; it costs a quarter of ``apply``.

    Returns None if it is not: there is an event of another kind than a living user's, or the
    statement failed, and its session with it. ``apply`` in a transaction then meets the same error,
    after which SQLAlchemy tests or replaces its sessions. It may repeat what was written, which
    changes nothing.

    Raises:
        DBAPIError: the server refuses, as it would in a transaction (``faults``).
    """
    states = [event.data for event in events if isinstance(event.data, UserState)]
    if len(states) < len(events):
        return None
    try:
        return await replica.write_alone(partial(fetch_alone, engine), states)
    except Exception as error:
        if sqlstate(error) and not (isinstance(error, DBAPIError) or ends_session(error)):
            raise DBAPIError(None, None, error) from error
        return None


async def _apply_users(
    replica: Replica, connection: AsyncConnection, events: Sequence[UserEvent]
) -> list[Outcome]:
    deleted = {event.data.id for event in events if isinstance(event.data, UserTombstone)}
    if deleted:
        await lock(connection, deleted)
        await erase(connection, deleted)
    return await replica.apply(connection, events)
