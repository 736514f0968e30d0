"""Record an event in the transaction that changes its user.

Step 2 of 6.

Guarantees: the event exists exactly when the change does, because both are committed together. The
caller commits. The commit wakes the relay; a rollback does not, and neither does a commit while
PostgreSQL's notification queue is nearly full, because a full one would refuse the commit.

Not here: publishing (``relay``). No request touches the broker.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    insert,
    null,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.table import RELAY_LEASE, outbox_events
from auth_service.outbox.urgent import is_urgent
from contracts.events import Data, UserState, UserTombstone
from contracts.events.names import EXCHANGE
from service_kit.broker.tracing import step
from service_kit.database.statements import Statement
from service_kit.database.transactions import Transaction
from service_kit.process import tracing
from service_kit.process.telemetry import traceparent

_RECORD_MANY = text(
    "INSERT INTO outbox_events (type, user_id, version, payload, traceparent)"
    " SELECT :type, user_id, version, payload::json, :traceparent"
    " FROM unnest(CAST(:users AS uuid[]), CAST(:versions AS bigint[]), CAST(:payloads AS text[]))"
    " WITH ORDINALITY AS recorded (user_id, version, payload, place) ORDER BY place"
)


_RECORD: Final = Statement(
    insert(outbox_events)
    .values(
        type=bindparam("event_type", type_=Text),
        user_id=bindparam("subject_id", type_=Uuid),
        version=bindparam("subject_version", type_=BigInteger),
        occurred_at=func.coalesce(
            bindparam("deleted_at", type_=DateTime(timezone=True)), func.clock_timestamp()
        ),
        payload=cast(bindparam("data", type_=Text), JSON),
        traceparent=bindparam("trace", type_=Text),
        is_urgent=bindparam("overtakes", type_=Boolean),
    )
    .returning(RELAY_LEASE.wake())
)


async def record(connection: AsyncConnection | Transaction, event_type: str, data: Data) -> None:
    """Insert the event of ``event_type`` with ``data``; the commit wakes the relay."""
    await _RECORD.on(
        connection,
        {
            "event_type": event_type,
            "subject_id": data.subject,
            "subject_version": data.subject_version,
            # A deletion is applied from its headers alone, so the event's time must be the
            # tombstone's.
            "deleted_at": data.deleted_at if isinstance(data, UserTombstone) else None,
            "data": data.model_dump_json(),
            "trace": _trace_of_new(event_type),
            "overtakes": is_urgent(data),
        },
    )


async def record_many(
    connection: AsyncConnection, event_type: str, states: Sequence[UserState]
) -> None:
    """Insert an event of ``event_type`` for each state, in this order, with one statement.

    The rows are the same as ``record`` inserts, but none is urgent: so many would delay those that
    are. The relay is woken once.
    """
    values = {
        "type": event_type,
        "users": [state.id for state in states],
        "versions": [state.version for state in states],
        "payloads": [state.model_dump_json() for state in states],
        "traceparent": _trace_of_new(event_type),
    }
    await connection.execute(_RECORD_MANY, values)
    await connection.execute(select(RELAY_LEASE.wake()))


def _trace_of_new(event_type: str) -> str | None:
    """Return what new events of this type carry as their ``traceparent``; None outside a request.

    With traces on, it leads to a span of their own, which is recorded here.
    """
    request, recorder = traceparent.get(), tracing.current()
    if request is None or recorder is None:
        return request
    return recorder.created(step("create", EXCHANGE, event_type), request)


async def erase(connection: AsyncConnection, user_id: UUID) -> None:
    """Erase the payloads of a user's recorded events, and set none of these events aside."""
    await connection.execute(
        update(outbox_events)
        .where(outbox_events.c.user_id == user_id, outbox_events.c.payload.is_not(null()))
        .values(payload=null(), set_aside=0, is_urgent=False)
    )
