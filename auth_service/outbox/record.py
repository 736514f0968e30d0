"""Record an event in the transaction that changed its user.

Step 2 of 6.

Guarantees: the event exists exactly when the change does, for both are committed together. The
caller commits; PostgreSQL wakes the relay then, and not if the transaction is rolled back, nor if
its queue of notifications is nearly full, which no commit may depend on.

Not here: publishing (``relay``). Nothing on a request's path touches the broker.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import JSON, Text, cast, func, insert, literal, null, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import WAKE_UP_CHANNEL, outbox_events
from auth_service.outbox.wake import wake
from contracts.events import Data, UserState, UserTombstone
from service_kit.process.telemetry import traceparent

_RECORD_MANY = text(
    "INSERT INTO outbox_events (type, user_id, version, payload, traceparent)"
    " SELECT :type, user_id, version, payload::json, :traceparent"
    " FROM unnest(CAST(:users AS uuid[]), CAST(:versions AS bigint[]), CAST(:payloads AS text[]))"
    " WITH ORDINALITY AS recorded (user_id, version, payload, place) ORDER BY place"
)


async def record(connection: AsyncConnection, event_type: str, data: Data) -> None:
    """Insert the event of ``event_type`` with ``data`` and wake the relay on commit."""
    # A deletion is applied from its headers alone, so its time there has to be the tombstone's.
    deleted_at = data.deleted_at if isinstance(data, UserTombstone) else None
    await connection.execute(
        insert(outbox_events)
        .values(
            type=event_type,
            user_id=data.subject,
            version=data.subject_version,
            occurred_at=deleted_at or func.clock_timestamp(),
            payload=cast(literal(data.model_dump_json(), Text), JSON),
            traceparent=traceparent.get(),
        )
        .returning(wake(WAKE_UP_CHANNEL))
    )


async def record_many(
    connection: AsyncConnection, event_type: str, states: Sequence[UserState]
) -> None:
    """Insert an event of ``event_type`` for each state, in their order, by one statement.

    They are what ``record`` would insert; the relay is woken once.
    """
    values = {
        "type": event_type,
        "users": [state.id for state in states],
        "versions": [state.version for state in states],
        "payloads": [state.model_dump_json() for state in states],
        "traceparent": traceparent.get(),
    }
    await connection.execute(_RECORD_MANY, values)
    await connection.execute(select(wake(WAKE_UP_CHANNEL)))


async def erase(connection: AsyncConnection, user_id: UUID) -> None:
    """Clear the payloads of all that was recorded of a user so far; none of it is set aside."""
    await connection.execute(
        update(outbox_events)
        .where(outbox_events.c.user_id == user_id, outbox_events.c.payload.is_not(null()))
        .values(payload=null(), set_aside=0)
    )
