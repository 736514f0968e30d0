"""Redrive parked messages: apply them by the same code as new messages.

Guarantees: a message is applied and removed in one transaction, so an interrupted run leaves each
message either applied and gone or parked unchanged. A message that fails again stays parked with
the new reason; one that needs a row locked by another session stays unchanged. While the database
is away nothing changes. Several concurrent runs share the work.

Not here: what an event does (``inbox.apply``).
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.events.envelope import legible_ids
from contracts.sync.merge import Outcome
from replica.inbox.faults import (
    Verdict,
    Wait,
    is_lock_timeout,
    is_messages_fault,
    verdict,
)
from replica.inbox.locked_rows import is_any_table_locked
from replica.inbox.parking import claim, park_again, unpark
from replica.inbox.stored import Carrier, apply_stored, deleted_user
from replica.inbox.table import parked_messages
from replica.locks import lock
from replica.parked.model import NoSuchMessage, Redriven
from replica.table import Replica

PAGE_IDS: Final = 100
"""Ids per query. Messages are read one by one, because they may be large."""

_PROPERTIES = select(parked_messages.c.properties).where(parked_messages.c.id == bindparam("id"))
_PARKED_NOW = select(func.count(), func.max(parked_messages.c.id)).where(
    parked_messages.c.id > bindparam("after")
)
_NEXT = (
    select(parked_messages.c.id)
    .where(parked_messages.c.id > bindparam("after"), parked_messages.c.id <= bindparam("last"))
    .order_by(parked_messages.c.id)
    .limit(PAGE_IDS)
)


async def redrive(replica: Replica, engine: AsyncEngine, parked_id: int) -> Redriven:
    """Redrive one message.

    Raises:
        NoSuchMessage: no message with this id is parked.
    """
    redriven = await _redrive(replica, engine, parked_id, waits=True)
    if redriven is None:
        raise NoSuchMessage(parked_id)
    return redriven


async def parked_now(engine: AsyncEngine, *, after: int = 0) -> tuple[int, int]:
    """Return the number of messages with ids above ``after``, and the last id, or 0."""
    async with engine.connect() as connection:
        count, last = (await connection.execute(_PARKED_NOW, {"after": after})).one()
    return count, last or 0


async def redrive_all(
    replica: Replica, engine: AsyncEngine, *, last: int, after: int = 0
) -> AsyncGenerator[Redriven]:
    """Redrive the messages with ids above ``after`` up to ``last``, in the order of parking.

    A message that another run is redriving comes later in its page, if it is still parked then.
    """
    while page := await _next(engine, after, last):
        busy = []
        for parked_id in page:
            redriven = await _redrive(replica, engine, parked_id, waits=False)
            if redriven is None:
                busy.append(parked_id)
            else:
                yield redriven
        for parked_id in busy:
            redriven = await _redrive(replica, engine, parked_id, waits=True)
            if redriven is not None:
                yield redriven
        after = page[-1]


async def _next(engine: AsyncEngine, after: int, last: int) -> list[int]:
    async with engine.connect() as connection:
        return list((await connection.execute(_NEXT, {"after": after, "last": last})).scalars())


async def _redrive(
    replica: Replica, engine: AsyncEngine, parked_id: int, *, waits: bool
) -> Redriven | None:
    """Redrive one message in a transaction; None if it is gone, or locked without ``waits``."""
    try:
        async with engine.begin() as connection:
            return await _redrive_in(replica, connection, parked_id, waits=waits)
    except DBAPIError as error:
        if not is_lock_timeout(error) or await is_any_table_locked(replica, engine):
            raise
        locked = Verdict(Wait.ROW_HELD, "another session holds a lock that the message needs")
        return Redriven(id=parked_id, outcome=Outcome.PARKED, failure=locked)


async def _redrive_in(
    replica: Replica, connection: AsyncConnection, parked_id: int, *, waits: bool
) -> Redriven | None:
    # Lock the user before their parked messages, in the consumer's order, to avoid deadlocks.
    if (deleted := await _deletes(connection, parked_id)) is not None:
        await lock(connection, [deleted])
    row = await claim(connection, parked_id, waits=waits)
    if row is None:
        return None
    ids = legible_ids(Carrier.of(row.properties, row.body))
    try:
        async with connection.begin_nested():
            outcome = await apply_stored(replica, connection, row)
    except Exception as error:
        if not is_messages_fault(error):
            raise
        failure = verdict(error)
        await park_again(connection, parked_id, failure)
        return Redriven(id=parked_id, outcome=Outcome.PARKED, failure=failure, ids=ids)
    await unpark(connection, parked_id)
    return Redriven(id=parked_id, outcome=outcome, ids=ids)


async def _deletes(connection: AsyncConnection, parked_id: int) -> UUID | None:
    """Return the user that the message deletes, or None if it is not a deletion."""
    properties: Mapping[str, Any] = await connection.scalar(_PROPERTIES, {"id": parked_id}) or {}
    return deleted_user(properties)
