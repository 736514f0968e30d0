"""Redrive parked messages: hand them to the same code that a fresh message meets.

Guarantees: applying a message and removing it are one transaction, so that whatever cuts a run off,
each message is either applied and gone or parked as it was; one that fails again stays, with the
new reason; one that needs what another session holds stays as it was; while the database is away
nothing changes; several runs at once share the work.

Not here: what an event does (``inbox.apply``).
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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
from replica.inbox.stored import apply_stored, deleted_user
from replica.inbox.table import parked_messages
from replica.locks import lock
from replica.parked.model import NoSuchMessage, Redriven
from replica.table import Replica

PAGE_IDS: Final = 100
"""Ids that are read at once; messages are read one by one, for their size is anybody's."""

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
        NoSuchMessage: it is not parked, or not any more.
    """
    redriven = await _redrive(replica, engine, parked_id, waits=True)
    if redriven is None:
        raise NoSuchMessage(parked_id)
    return redriven


async def parked_now(engine: AsyncEngine, *, after: int = 0) -> tuple[int, int]:
    """How many messages are parked ``after`` one, and the id of the last; 0 when there is none."""
    async with engine.connect() as connection:
        count, last = (await connection.execute(_PARKED_NOW, {"after": after})).one()
    return count, last or 0


async def redrive_all(
    replica: Replica, engine: AsyncEngine, *, last: int, after: int = 0
) -> AsyncGenerator[Redriven]:
    """Redrive what is parked ``after`` one message up to the ``last``, in the order of parking.

    What somebody else is at comes somewhat later, if it is still there.
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
    """Redrive one message in a transaction; None when it is gone, or busy and nobody waits."""
    try:
        async with engine.begin() as connection:
            return await _redrive_in(replica, connection, parked_id, waits=waits)
    except DBAPIError as error:
        if not is_lock_timeout(error) or await is_any_table_locked(replica, engine):
            raise
        held = Verdict(Wait.ROW_HELD, "another session holds a lock on what it concerns")
        return Redriven(id=parked_id, outcome=Outcome.PARKED, failure=held)


async def _redrive_in(
    replica: Replica, connection: AsyncConnection, parked_id: int, *, waits: bool
) -> Redriven | None:
    # First a user's lock and then what is parked of them, as the consumer does: in the other
    # order the two could wait for each other.
    if (deleted := await _deletes(connection, parked_id)) is not None:
        await lock(connection, [deleted])
    row = await claim(connection, parked_id, waits=waits)
    if row is None:
        return None
    try:
        async with connection.begin_nested():
            outcome = await apply_stored(replica, connection, row)
    except Exception as error:
        if not is_messages_fault(error):
            raise
        failure = verdict(error)
        await park_again(connection, parked_id, failure)
        return Redriven(id=parked_id, outcome=Outcome.PARKED, failure=failure)
    await unpark(connection, parked_id)
    return Redriven(id=parked_id, outcome=outcome)


async def _deletes(connection: AsyncConnection, parked_id: int) -> UUID | None:
    """The user whom the message deletes, if it is a deletion."""
    properties: Mapping[str, Any] = await connection.scalar(_PROPERTIES, {"id": parked_id}) or {}
    return deleted_user(properties)
