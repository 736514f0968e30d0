"""Write the replica. The only code that does.

Step 6 of 6.

Guarantees: a state is written only under one of two guards. *Newer* (``model.rank``) is for events,
replays and most repairs: whatever came before, how often and in which order, the newest state wins
and a tombstone stays. *As compared* is for the other repairs, which may write the same or a lower
version: the row is still the one that was compared with the source. A provisional row never
overwrites anything. Whoever writes a tombstone, whatever the occasion, notes with it that the
user's content is yet to be erased (``sweep``). The caller owns the transaction.

Not here: erasing it (``erasure``).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
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

from blog_service.users.model import Outcome, Rank, State, fold, outcomes
from blog_service.users.table import users
from contracts.events import UserState

_COLUMNS = {
    "id": "uuid",
    "version": "bigint",
    "email": "text",
    "email_verified": "boolean",
    "roles": "text",  # an array's literal, for unnest would flatten an array of arrays
    "status": "text",
    "tokens_valid_after": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "deleted_at": "timestamptz",
}

COLUMNS: Final = tuple(_COLUMNS)
"""What is replicated."""


def _sweep_sql(deleted_at: str) -> str:
    """SQL for the note that belongs to a state of the source."""
    return f"CASE WHEN {deleted_at} IS NOT NULL THEN 'deleted' END"


def write_if_newer_sql(rows: str) -> str:
    """SQL that writes ``rows``, an item of FROM with ``COLUMNS``, under the guard *newer*.

    One row a user, in the order of ids, so that two writers never deadlock. Returns the ids of
    those that were written.
    """
    return f"""
        INSERT INTO users AS present ({", ".join(COLUMNS)}, sweep)
        SELECT {", ".join(f"{name}::text[]" if name == "roles" else name for name in COLUMNS)},
            {_sweep_sql("deleted_at")}
        FROM {rows}
        ON CONFLICT (id) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")},
            sweep = excluded.sweep, applied_at = now()
        WHERE (present.deleted_at IS NOT NULL, present.version)
            < (excluded.deleted_at IS NOT NULL, excluded.version)
        RETURNING id
        """  # noqa: S608 - made of the constant names above


def write_as_compared_sql(rows: str) -> str:
    """SQL that writes ``rows`` under the guard *as compared*.

    ``rows`` is an item of FROM with ``COLUMNS`` and ``compared_version``, of users who were alive
    on both sides, or deleted on both. Returns the ids of those that were written.
    """
    return f"""
        UPDATE users AS present SET
            {", ".join(f"{name} = coming.{name}" for name in COLUMNS if name != "id")},
            sweep = {_sweep_sql("coming.deleted_at")}, applied_at = now()
        FROM {rows} AS coming
        WHERE present.id = coming.id AND present.version = coming.compared_version
            AND (present.deleted_at IS NULL) = (coming.deleted_at IS NULL)
        RETURNING present.id
        """  # noqa: S608 - made of the constant names above


# One array a column: five times the speed of a VALUES list, and one plan for every batch size. The
# types stand in the statement, so that SQLAlchemy hands the lists to the driver as they are.
_ARRAYS = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items())
_WRITE_IF_NEWER = text(write_if_newer_sql(f"unnest({_ARRAYS}) AS coming ({', '.join(COLUMNS)})"))

_BURY = text(
    """
    UPDATE users SET version = users.version + 1, status = 'deleted', deleted_at = now(),
        email = NULL, email_verified = false, roles = '{}', tokens_valid_after = NULL,
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
    if not states:
        return []
    winners = fold(states)
    written = await connection.execute(_WRITE_IF_NEWER, _arrays(winners))
    unwritten = {state.id for state in winners}.difference(written.scalars())
    return outcomes(states, await _ranks(connection, unwritten) if unwritten else {})


async def provide(connection: AsyncConnection, user_id: UUID) -> None:
    """Make sure that there is a row for a user whose valid token came before his event.

    The row has an id and nothing else (version 0), so that every event is newer; a row that is
    there already, a tombstone even, stays as it is.
    """
    row = {"id": user_id, "version": 0, "status": "provisional"}
    await connection.execute(insert(users).values(row).on_conflict_do_nothing())


async def bury(connection: AsyncConnection, compared: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Put a tombstone, one version higher, in the place of users whom the source does not know.

    Each as compared: the row still has the version that is given with its id. The caller holds
    their locks (``lock``). Returns the ids of those who were there to bury.
    """
    values = {"ids": [row[0] for row in compared], "versions": [row[1] for row in compared]}
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
    keys = sorted(user_id.int >> 64 for user_id in user_ids)
    signed = [key - 2**64 if key >= 2**63 else key for key in keys]
    locks = func.unnest(bindparam("keys", signed, ARRAY(BigInteger))).column_valued("key")
    await connection.execute(select(func.pg_advisory_xact_lock(locks)))


async def is_deleted(connection: AsyncConnection, user_id: UUID) -> bool:
    """Whether the replica has this user's tombstone."""
    query = select(users.c.deleted_at.is_not(None)).where(users.c.id == user_id)
    return bool(await connection.scalar(query))


async def _ranks(connection: AsyncConnection, user_ids: Iterable[UUID]) -> dict[UUID, Rank]:
    query = select(users.c.id, users.c.deleted_at.is_not(None), users.c.version).where(
        users.c.id.in_(user_ids)
    )
    rows = await connection.execute(query)
    return {user_id: (is_deleted, version) for user_id, is_deleted, version in rows}


def _arrays(states: Sequence[State]) -> dict[str, list[Any]]:
    rows = zip(*(_row(state) for state in states), strict=True)
    return {name: list(values) for name, values in zip(_COLUMNS, rows, strict=True)}


def _row(state: State) -> tuple[Any, ...]:
    """The values for ``_COLUMNS``, in their order."""
    if isinstance(state, UserState):
        return (
            state.id,
            state.version,
            state.email,
            state.email_verified,
            array_literal(state.roles),
            state.status,
            state.tokens_valid_after,
            state.created_at,
            state.updated_at,
            None,
        )
    return (
        state.id, state.version, None, False, "{}", "deleted", None, None, None, state.deleted_at
    )  # fmt: skip


def array_literal(texts: Iterable[str]) -> str:
    r"""PostgreSQL's text form of an array, in which only ``"`` and ``\`` need an escape."""
    escaped = (text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"
