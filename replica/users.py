"""Write the replica. The only code that does.

Step 6 of 6.

Guarantees: a state is written only under one of two guards. *Newer* (``replica.table``) is for
events, replays and most repairs: whatever came before, how often and in which order, the newest
state wins and a tombstone stays. *As compared* is for the other repairs, which may write the same
or a lower version: the row is still the one that was compared with the source. A provisional row
never overwrites anything. Whoever writes a tombstone, whatever the occasion, notes with it that the
user's content is yet to be erased (``sweep``). The caller owns the transaction.

Not here: erasing it (``erasure``).
"""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.users.table import users
from contracts.events import VERSION_MAX
from contracts.sync.merge import Outcome, State
from replica.table import Replica

_NOTES: Final = {
    "applied_at": "now()",
    "sweep": "CASE WHEN coming.deleted_at IS NOT NULL THEN 'deleted' END",
}
_replica: Final = Replica(users, also=_NOTES)

COLUMNS: Final = _replica.columns
"""What is replicated."""

write_if_newer_sql: Final = _replica.write_if_newer_sql


def write_as_compared_sql(rows: str) -> str:
    """SQL that writes ``rows`` under the guard *as compared*.

    ``rows`` is an item of FROM with ``COLUMNS`` and ``compared_version``, of users who were alive
    on both sides, or deleted on both. Returns the ids of those that were written.
    """
    values = {name: f"coming.{name}" for name in COLUMNS if name != "id"} | _NOTES
    return f"""
        UPDATE users AS present SET
            {", ".join(f"{name} = {value}" for name, value in values.items())}
        FROM {rows} AS coming
        WHERE present.id = coming.id AND present.version = coming.compared_version
            AND (present.deleted_at IS NULL) = (coming.deleted_at IS NULL)
        RETURNING present.id
        """  # noqa: S608 - made of the constant names above


_BURY = text(
    """
    UPDATE users SET version = LEAST(users.version + 1, CAST(:version_max AS bigint)),
        status = 'deleted', deleted_at = now(), email = NULL, email_verified = false,
        roles = '{}', tokens_valid_after = NULL,
        created_at = NULL, updated_at = NULL, sweep = 'orphan', applied_at = now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS bigint[])) AS compared (id, version)
    WHERE users.id = compared.id AND users.version = compared.version
        AND users.deleted_at IS NULL AND users.version > 0
    RETURNING users.id
    """
)

_REMOVE_PROVISIONAL = text(
    "DELETE FROM users WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'provisional' RETURNING id"
)

_SWEPT = text(
    "UPDATE users SET sweep = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND deleted_at IS NOT NULL"
)


async def write(connection: AsyncConnection, states: Sequence[State]) -> list[Outcome]:
    """Merge ``states`` into the replica; what each of them did, in their order."""
    return await _replica.write(connection, states)


async def provide(connection: AsyncConnection, user_id: UUID) -> None:
    """Make sure that there is a row for a user whose valid token came before his event.

    The row has an id and nothing else (version 0), so that every event is newer; a row that is
    there already, a tombstone even, stays as it is.
    """
    row = {"id": user_id, "version": 0, "status": "provisional"}
    await connection.execute(insert(users).values(row).on_conflict_do_nothing())


async def bury(connection: AsyncConnection, compared: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Put a tombstone, one version higher, in the place of users whom the source does not know.

    Of the highest version there is, it keeps that one: it beats a living state all the same.

    Each as compared: the row still has the version that is given with its id. The caller holds
    their locks (``lock``). Returns the ids of those who were there to bury.
    """
    values = {
        "ids": [row[0] for row in compared],
        "versions": [row[1] for row in compared],
        "version_max": VERSION_MAX,
    }
    return set((await connection.execute(_BURY, values)).scalars())


async def remove_provisional(connection: AsyncConnection, user_ids: Sequence[UUID]) -> set[UUID]:
    """Remove rows that are still provisional, of users whom the source does not know."""
    removed = await connection.execute(_REMOVE_PROVISIONAL, {"ids": list(user_ids)})
    return set(removed.scalars())


async def mark_swept(connection: AsyncConnection, user_ids: Sequence[UUID]) -> None:
    """Note that nothing of these deleted users is left to erase.

    The caller has held their rows since before it looked, so that it is true: whoever writes
    content holds his author's row ``FOR SHARE`` and looks at it, and adds nothing to a tombstone.
    """
    await connection.execute(_SWEPT, {"ids": list(user_ids)})


async def lock(connection: AsyncConnection, user_ids: Iterable[UUID]) -> None:
    """Wait for, and hold until the transaction ends, the lock of each of these users.

    Applying a tombstone and parking a message take it, so that neither can miss the other.
    """
    keys = sorted(_lock_key(user_id) for user_id in user_ids)
    locks = func.unnest(bindparam("keys", keys, ARRAY(BigInteger))).column_valued("key")
    await connection.execute(select(func.pg_advisory_xact_lock(locks)))


async def try_lock(connection: AsyncConnection, user_ids: Iterable[UUID]) -> set[UUID]:
    """Take those of these users' locks that are free, as ``lock`` does, and wait for none.

    Returns whose locks are taken now.
    """
    users_of = {_lock_key(user_id): user_id for user_id in user_ids}
    keys = func.unnest(bindparam("keys", sorted(users_of), ARRAY(BigInteger))).column_valued("key")
    taken = await connection.execute(select(keys, func.pg_try_advisory_xact_lock(keys)))
    return {users_of[key] for key, is_taken in taken if is_taken}


def _lock_key(user_id: UUID) -> int:
    key = user_id.int >> 64
    return key - 2**64 if key >= 2**63 else key


async def is_deleted(connection: AsyncConnection, user_id: UUID) -> bool:
    """Whether the replica has this user's tombstone."""
    query = select(users.c.deleted_at.is_not(None)).where(users.c.id == user_id)
    return bool(await connection.scalar(query))
