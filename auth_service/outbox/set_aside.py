"""Set aside events that no queue accepts, and release them when a queue does.

Guarantees: the relay's reads skip an event that is set aside. Later events of the same user are set
aside behind it, so their order stays. Erasing a user (``record``) releases their events, so their
tombstone waits for nothing. Rows that another session has locked are skipped until the next round.
Each statement changes a bounded number of rows.

Not here: when to retry a type (``model.Unroutable``), and publishing (``relay``).
"""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import bindparam, exists, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.backlog import COLUMNS, RecordedEvent, recorded_event
from auth_service.outbox.table import outbox_events
from contracts.events import UserDeleted

RETURNED: Final = 1
"""No queue accepts the event."""

BEHIND: Final = 2
"""An earlier event of the same user is set aside."""

UNSENDABLE: Final = 3
"""The event exceeds a limit of AMQP; retried when a relay becomes active."""

KINDS: Final = (RETURNED, BEHIND, UNSENDABLE)

BATCH: Final = 5_000
"""Rows that one statement changes, in some tens of milliseconds."""

# Lock the rows first, in the order of their positions, and skip locked ones. What was erased since
# it was claimed stays at the head, where it is marked: to try its type with it would send nothing.
_SET: Final = text(
    f"""
    UPDATE outbox_events SET set_aside = :kind WHERE position = ANY (ARRAY(
        SELECT position FROM outbox_events
        WHERE position = ANY (CAST(:positions AS bigint[])) AND published_at IS NULL
          AND (payload IS NOT NULL OR type = '{UserDeleted.type}')
        ORDER BY position FOR NO KEY UPDATE SKIP LOCKED
    ))
    """  # noqa: S608 - made of a constant
)

_BEHIND: Final = text(
    """
    SELECT later.position
    FROM unnest(CAST(:positions AS bigint[]), CAST(:users AS uuid[])) AS later (position, user_id)
    WHERE EXISTS (
        SELECT FROM outbox_events AS earlier
        WHERE earlier.user_id = later.user_id AND earlier.position < later.position
          AND earlier.published_at IS NULL AND earlier.set_aside > 0
    )
    """
)

_TYPES: Final = text(
    "SELECT DISTINCT type FROM outbox_events WHERE published_at IS NULL AND set_aside = 1"
)

_IS_ANY: Final = text(
    "SELECT EXISTS (SELECT FROM outbox_events WHERE published_at IS NULL AND set_aside > 0)"
)

_IS_LEFT: Final = text(
    "SELECT EXISTS (SELECT FROM outbox_events"
    " WHERE published_at IS NULL AND set_aside = 1 AND type = :type)"
)

_earlier = outbox_events.alias("earlier")

_FIRST: Final = (
    select(*COLUMNS)
    .where(
        outbox_events.c.published_at.is_(None),
        outbox_events.c.set_aside == RETURNED,
        outbox_events.c.type == bindparam("type"),
        ~exists().where(
            _earlier.c.user_id == outbox_events.c.user_id,
            _earlier.c.position < outbox_events.c.position,
            _earlier.c.published_at.is_(None),
        ),
    )
    .order_by(outbox_events.c.position)
    .limit(1)
)

# Both updates see the rows as they were, so the second ignores the type that the first releases.
_FREE_TYPE: Final = text(
    """
    WITH free AS (
        UPDATE outbox_events SET set_aside = 0 WHERE position = ANY (ARRAY(
            SELECT position FROM outbox_events
            WHERE published_at IS NULL AND set_aside = 1 AND type = :type
            ORDER BY position LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
        )) RETURNING user_id
    )
    UPDATE outbox_events SET set_aside = 0 WHERE position = ANY (ARRAY(
        SELECT later.position FROM outbox_events AS later
        WHERE later.published_at IS NULL AND later.set_aside = 2
          AND later.user_id IN (SELECT user_id FROM free)
          AND NOT EXISTS (
            SELECT FROM outbox_events AS earlier
            WHERE earlier.user_id = later.user_id AND earlier.position < later.position
              AND earlier.published_at IS NULL AND earlier.type <> :type
              AND earlier.set_aside IN (1, 3)
          )
        ORDER BY later.position FOR NO KEY UPDATE OF later SKIP LOCKED
    ))
    """
)

_FREE_BEHIND: Final = text(
    """
    UPDATE outbox_events SET set_aside = 0 WHERE position = ANY (ARRAY(
        SELECT later.position FROM outbox_events AS later
        WHERE later.published_at IS NULL AND later.set_aside = 2
          AND NOT EXISTS (
            SELECT FROM outbox_events AS earlier
            WHERE earlier.user_id = later.user_id AND earlier.position < later.position
              AND earlier.published_at IS NULL AND earlier.set_aside IN (1, 3)
          )
        ORDER BY later.position LIMIT :limit FOR NO KEY UPDATE OF later SKIP LOCKED
    ))
    """
)

_FREE_UNSENDABLE: Final = text(
    """
    UPDATE outbox_events SET set_aside = 0 WHERE position = ANY (ARRAY(
        SELECT position FROM outbox_events WHERE published_at IS NULL AND set_aside = 3
        ORDER BY position LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ))
    """
)


async def set_aside(connection: AsyncConnection, positions: Collection[int], kind: int) -> int:
    """Set the events at ``positions`` aside as ``kind``; return how many were not locked."""
    values = {"positions": list(positions), "kind": kind}
    return (await connection.execute(_SET, values)).rowcount


async def behind(connection: AsyncConnection, events: Sequence[RecordedEvent]) -> set[int]:
    """Return the positions of those ``events`` whose user has an earlier event set aside."""
    theirs = [event for event in events if event.user_id is not None]
    values = {
        "positions": [event.position for event in theirs],
        "users": [event.user_id for event in theirs],
    }
    return set(await connection.scalars(_BEHIND, values)) if theirs else set()


async def returned_types(connection: AsyncConnection) -> list[str]:
    """Return the types of events that are set aside because no queue accepts them."""
    return list(await connection.scalars(_TYPES))


async def is_any(connection: AsyncConnection) -> bool:
    """Return whether any event is set aside."""
    return bool(await connection.scalar(_IS_ANY))


async def is_left(connection: AsyncConnection, event_type: str) -> bool:
    """Return whether events of this type are set aside because no queue accepts them."""
    return bool(await connection.scalar(_IS_LEFT, {"type": event_type}))


async def first_returned(connection: AsyncConnection, event_type: str) -> RecordedEvent | None:
    """Read the oldest returned event of this type that is the first unpublished of its user."""
    row = (await connection.execute(_FIRST, {"type": event_type})).one_or_none()
    return None if row is None else recorded_event(*row)


async def release(connection: AsyncConnection, event_type: str) -> None:
    """Release up to ``BATCH`` events of this type, and the events behind them."""
    await connection.execute(_FREE_TYPE, {"type": event_type, "limit": BATCH})


async def release_behind(connection: AsyncConnection) -> int:
    """Release events that no earlier event blocks any more; return how many."""
    return (await connection.execute(_FREE_BEHIND, {"limit": BATCH})).rowcount


async def release_unsendable(connection: AsyncConnection) -> None:
    """Release up to ``BATCH`` events that an earlier relay could not send."""
    await connection.execute(_FREE_UNSENDABLE, {"limit": BATCH})
