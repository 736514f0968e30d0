"""Set messages aside in the replica's database until they can be applied.

Two kinds are set aside: messages that need a row or lock of another session, and messages that the
broker dead-lettered because of a limit, which says nothing about the message. Only this code writes
the table, except that ``parking.erase`` erases bodies with their user.

Guarantees: for each user, source of heartbeats, key and service account, one message is tried at a
time, in order. A user's newer state replaces older waiting ones, and a tombstone replaces all, so
the table stays small and no content of a deleted user waits. A try is counted before it is made, so
a message that crashes processes is recognised. Two processes never try the same message at once.

Not here: the retries (``retry``), messages that are at fault (``parking``).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, Row, Text, cast, delete, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import Event, Heartbeat, KeyRevoked, ServiceChanged, UserTombstone
from contracts.events.envelope import Undecodable, decode, legible_user
from replica.inbox.faults import Wait
from replica.inbox.parking import as_json, message_hash, storable
from replica.inbox.table import waiting_messages
from replica.table import Replica
from service_kit.broker.delivery import Delivery

MESSAGES_WAIT: Final = "messages_wait"
"""The value of ``degraded`` while messages are set aside."""

RETRY_SECONDS: Final = 2
"""Between two tries of a message: once the lock is gone, the user is up to date within seconds."""

LEASE_SECONDS: Final = 10
"""A process that has not released a try after this long has died. A try takes milliseconds, at most
the statement timeout."""

KEYS_MAX: Final = 10_000
"""How many keys a process remembers; any others are found again with each batch."""

NAMED_MAX: Final = 5
"""How many keys the status lists."""


@dataclass(frozen=True, slots=True)
class WaitingSummary:
    """The number of waiting messages, the age of the oldest in seconds, and some of their keys."""

    messages: int
    oldest_seconds: float | None
    keys: Sequence[str]
    reasons: Sequence[str]


def key_of(event: Event) -> str:
    """Return the key within which order matters: a user, a source, a key or a service account."""
    if isinstance(event, Heartbeat):
        return f"heartbeats of {event.source}"
    if isinstance(event, KeyRevoked):
        return f"key {event.data.kid}"
    if isinstance(event, ServiceChanged):
        return f"service {event.data.client_id}"
    return f"user {event.data.id}"


def event_of(delivery: Delivery) -> Event | None:
    """Return the event that ``delivery`` carries; None if it cannot be read."""
    try:
        return decode(delivery)
    except Undecodable:
        return None


async def set_aside(connection: AsyncConnection, delivery: Delivery, reason: Wait) -> None:
    """Store ``delivery`` until it can be applied; the caller owns the transaction."""
    event = event_of(delivery)
    digest = message_hash(delivery)
    version = None if event is None else event.data.subject_version
    key = f"message {digest.hex()}" if event is None else key_of(event)
    deletes = event is not None and isinstance(event.data, UserTombstone)
    if version is not None:
        await connection.execute(_SUPERSEDE, {"key": key, "deletes": deletes, "version": version})
    row = insert(waiting_messages).values(
        message_hash=digest,
        key=key,
        user_id=legible_user(delivery),
        version=version,
        deletes=deletes,
        reason=reason,
        exchange=storable(delivery.exchange),
        routing_key=storable(delivery.routing_key),
        properties=cast(literal(as_json(delivery), Text), JSON),
        body=delivery.body,
    )
    await connection.execute(row.on_conflict_do_nothing())


async def keys(connection: AsyncConnection) -> set[str]:
    """Return the keys of waiting messages."""
    query = select(waiting_messages.c.key).distinct().limit(KEYS_MAX)
    return set((await connection.execute(query)).scalars())


async def due_users(connection: AsyncConnection) -> list[UUID]:
    """Return the users whose messages are due."""
    return list((await connection.execute(_DUE_USERS, {"limit": KEYS_MAX})).scalars())


async def postpone(connection: AsyncConnection, user_ids: Collection[UUID]) -> None:
    """Postpone the messages of these users by ``RETRY_SECONDS``."""
    await connection.execute(_POSTPONE, {"ids": list(user_ids)})


async def erase_of_deleted(replica: Replica, connection: AsyncConnection) -> None:
    """Erase the bodies of deleted users' messages.

    A message set aside while its user's tombstone was being written missed the erasure.
    """
    await connection.execute(text(_ERASE.format(users=replica.name)))


async def claim(connection: AsyncConnection) -> Row[Any] | None:
    """Count a try of the next due message and reserve it; return None if none is due.

    The caller commits before the try.
    """
    return (await connection.execute(_CLAIM)).one_or_none()


async def release(connection: AsyncConnection, waiting_id: int) -> None:
    """Undo the count of a try that the process has survived; the message keeps waiting."""
    await connection.execute(_RELEASE, {"id": waiting_id})


async def remove(connection: AsyncConnection, waiting_id: int) -> bool:
    """Remove a message that this transaction applies or parks; tell whether it was there."""
    removed = delete(waiting_messages).where(waiting_messages.c.id == waiting_id)
    return (await connection.execute(removed)).rowcount == 1


async def summary(connection: AsyncConnection) -> WaitingSummary:
    """Summarise the waiting messages for the status."""
    row = (await connection.execute(_SUMMARY, {"named": NAMED_MAX})).mappings().one()
    return WaitingSummary(**row)


_SUPERSEDE: Final = text(
    "DELETE FROM waiting_messages WHERE key = :key AND (deletes, version) < (:deletes, :version)"
)

_DUE_USERS: Final = text(
    "SELECT DISTINCT user_id FROM waiting_messages"
    " WHERE user_id IS NOT NULL AND next_try_at <= clock_timestamp() LIMIT :limit"
)

_POSTPONE: Final = text(
    f"""
    UPDATE waiting_messages SET next_try_at = clock_timestamp() + interval '{RETRY_SECONDS} s'
    WHERE id IN (
        SELECT id FROM waiting_messages
        WHERE user_id = ANY(CAST(:ids AS uuid[])) AND next_try_at <= clock_timestamp()
        FOR UPDATE SKIP LOCKED
    )
    """  # noqa: S608 - made of constants
)

_ERASE: Final = """
    UPDATE waiting_messages SET body = NULL
    WHERE id IN (
        SELECT waiting.id
        FROM waiting_messages AS waiting JOIN {users} AS one ON one.id = waiting.user_id
        WHERE one.deleted_at IS NOT NULL AND waiting.body IS NOT NULL
        FOR UPDATE OF waiting SKIP LOCKED
    )
"""

_CLAIM: Final = text(
    f"""
    UPDATE waiting_messages SET attempts = attempts + 1,
        next_try_at = clock_timestamp() + interval '{LEASE_SECONDS} s'
    WHERE id = (
        SELECT id FROM waiting_messages AS waiting
        WHERE next_try_at <= clock_timestamp() AND NOT EXISTS (
            SELECT FROM waiting_messages AS earlier
            WHERE earlier.key = waiting.key AND earlier.id < waiting.id
        )
        ORDER BY next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING *
    """  # noqa: S608 - made of constants
)

_RELEASE: Final = text(
    f"""
    UPDATE waiting_messages SET attempts = greatest(attempts - 1, 0),
        next_try_at = clock_timestamp() + interval '{RETRY_SECONDS} s'
    WHERE id = :id
    """  # noqa: S608 - made of constants
)

_SUMMARY: Final = text(
    """
    SELECT count(*) AS messages,
           extract(epoch FROM clock_timestamp() - min(set_aside_at))::float AS oldest_seconds,
           coalesce((SELECT array_agg(key) FROM (
               SELECT key FROM waiting_messages GROUP BY key ORDER BY min(id) LIMIT :named
           ) AS first), '{}') AS keys,
           coalesce(array_agg(DISTINCT reason), '{}') AS reasons
    FROM waiting_messages
    """
)
