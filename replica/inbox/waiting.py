"""Set a message aside in this service's database, where it waits by itself.

Two kinds wait: a message that needs a row or a lock which another session holds, and one that the
broker gave up on because of a limit, which says nothing about the message. The only code that
writes the table, but for the bodies that are erased with their user (``parking.erase``).

Guarantees: of each user, source of heartbeats, key and service account one message is tried at a
time, in order; a user's newer state replaces older ones that wait, a tombstone all of them, so that
the table stays small and nothing of a deleted user waits; a try is counted before it is made, so
that a message that kills processes is found; two processes never try the same message at once.

Not here: trying again (``retry``), what happens to a message that is at fault (``parking``).
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
from replica.inbox.subscription import Delivery
from replica.inbox.table import waiting_messages
from replica.table import Replica

MESSAGES_WAIT: Final = "messages_wait"
"""As a reason why the replica may be incomplete."""

RETRY_SECONDS: Final = 2
"""Between two tries of a message: when the lock is gone, its user is up to date within seconds."""

LEASE_SECONDS: Final = 10
"""A process that has not reported back from a try for so long has died; a try takes milliseconds,
and ends with its statement's time limit."""

KEYS_MAX: Final = 10_000
"""How many keys a process remembers; of more it finds out again with each batch."""

NAMED_MAX: Final = 5
"""How many of those who wait the status names."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How many messages wait, since when the oldest does (seconds), and whose some of them are."""

    messages: int
    oldest_seconds: float | None
    keys: Sequence[str]
    reasons: Sequence[str]


def key_of(event: Event) -> str:
    """What has an order of its own: a user, a source's heartbeats, a key, a service account."""
    if isinstance(event, Heartbeat):
        return f"heartbeats of {event.source}"
    if isinstance(event, KeyRevoked):
        return f"key {event.data.kid}"
    if isinstance(event, ServiceChanged):
        return f"service {event.data.client_id}"
    return f"user {event.data.id}"


def event_of(delivery: Delivery) -> Event | None:
    """The event that ``delivery`` carries; None when it cannot be read."""
    try:
        return decode(delivery)
    except Undecodable:
        return None


async def set_aside(connection: AsyncConnection, delivery: Delivery, reason: Wait) -> None:
    """Keep ``delivery`` until it can be applied; the caller owns the transaction."""
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
    """Whose messages wait."""
    query = select(waiting_messages.c.key).distinct().limit(KEYS_MAX)
    return set((await connection.execute(query)).scalars())


async def due_users(connection: AsyncConnection) -> list[UUID]:
    """The users whose messages are to be tried now."""
    return list((await connection.execute(_DUE_USERS, {"limit": KEYS_MAX})).scalars())


async def postpone(connection: AsyncConnection, user_ids: Collection[UUID]) -> None:
    """Try the messages of these users later."""
    await connection.execute(_POSTPONE, {"ids": list(user_ids)})


async def erase_of_deleted(replica: Replica, connection: AsyncConnection) -> None:
    """Clear the bodies of deleted users' messages.

    One that was set aside while its user's tombstone was being written has escaped that.
    """
    await connection.execute(text(_ERASE.format(users=replica.name)))


async def claim(connection: AsyncConnection) -> Row[Any] | None:
    """Count a try of the next message that is due, and reserve it; None when none is.

    The caller commits before the try.
    """
    return (await connection.execute(_CLAIM)).one_or_none()


async def put_back(connection: AsyncConnection, waiting_id: int) -> None:
    """Note that the process has survived the try, and that the message has to wait on."""
    await connection.execute(_PUT_BACK, {"id": waiting_id})


async def remove(connection: AsyncConnection, waiting_id: int) -> bool:
    """Remove a message that is applied or parked in this transaction; whether it was there."""
    removed = delete(waiting_messages).where(waiting_messages.c.id == waiting_id)
    return (await connection.execute(removed)).rowcount == 1


async def kept(connection: AsyncConnection) -> Kept:
    """What waits, for the status."""
    row = (await connection.execute(_KEPT, {"named": NAMED_MAX})).mappings().one()
    return Kept(**row)


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

_PUT_BACK: Final = text(
    f"""
    UPDATE waiting_messages SET attempts = greatest(attempts - 1, 0),
        next_try_at = clock_timestamp() + interval '{RETRY_SECONDS} s'
    WHERE id = :id
    """  # noqa: S608 - made of constants
)

_KEPT: Final = text(
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
