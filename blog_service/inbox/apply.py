"""Apply events to this service's database, all or none. The caller owns the transaction.

Step 6 of 6.

Guarantees: live messages, redelivered and redriven ones all meet this same code; a deletion erases
what is parked of its user in the same transaction.
"""

from collections.abc import Sequence

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.inbox.parking import erase, expire
from blog_service.inbox.table import heartbeats
from blog_service.keys.revoke import revoke
from blog_service.users import replica
from blog_service.users.model import Outcome
from contracts.events import Event, Heartbeat, KeyRevoked, UserEvent, UserTombstone


async def apply(connection: AsyncConnection, events: Sequence[Event]) -> list[Outcome]:
    """Merge ``events`` into the replica; what each of them did, in their order."""
    of_users = [event for event in events if isinstance(event, UserEvent)]
    done = iter(await _apply_users(connection, of_users))
    outcomes = []
    for event in events:
        match event:
            case Heartbeat():
                outcomes.append(await _apply_heartbeat(connection, event))
            case KeyRevoked():
                is_news = await revoke(connection, event.data)
                outcomes.append(Outcome.APPLIED if is_news else Outcome.UNCHANGED)
            case _:
                outcomes.append(next(done))
    return outcomes


async def _apply_users(connection: AsyncConnection, events: Sequence[UserEvent]) -> list[Outcome]:
    deleted = {event.data.id for event in events if isinstance(event.data, UserTombstone)}
    if deleted:
        await replica.lock(connection, deleted)
        await erase(connection, deleted)
    return await replica.write(connection, [event.data for event in events])


async def _apply_heartbeat(connection: AsyncConnection, event: Heartbeat) -> Outcome:
    """Note the heartbeat; what is parked without a legible user expires by its beat."""
    upsert = insert(heartbeats).values(
        source=event.source, number=event.data.number, recorded_at=event.time
    )
    newer = upsert.on_conflict_do_update(
        index_elements=[heartbeats.c.source],
        set_={
            "number": upsert.excluded.number,
            "recorded_at": upsert.excluded.recorded_at,
            "applied_at": func.now(),
        },
        where=heartbeats.c.number < upsert.excluded.number,
    )
    written = await connection.execute(newer)
    await expire(connection)
    return Outcome.APPLIED if written.rowcount else Outcome.STALE
