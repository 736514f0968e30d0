"""Apply events to the replica's database, all or none. The caller owns the transaction.

Step 6 of 6.

Guarantees: live, redelivered and redriven messages go through this same code. A deletion erases the
user's parked messages in the same transaction. Each heartbeat expires old parked messages without
an identifiable user.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import (
    Event,
    Heartbeat,
    KeyRevoked,
    ServiceChanged,
    UserEvent,
    UserTombstone,
)
from contracts.sync.merge import Outcome
from replica.inbox.heartbeats import follow
from replica.inbox.parking import erase, expire
from replica.keys.revoke import revoke
from replica.locks import lock
from replica.services.keep import keep
from replica.table import Replica


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


async def _apply_users(
    replica: Replica, connection: AsyncConnection, events: Sequence[UserEvent]
) -> list[Outcome]:
    deleted = {event.data.id for event in events if isinstance(event.data, UserTombstone)}
    if deleted:
        await lock(connection, deleted)
        await erase(connection, deleted)
    return await replica.apply(connection, events)
