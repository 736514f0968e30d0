"""Write the replica. The only code that does.

Step 6 of 6.

Guarantees: a state is written only when it is newer than the row (``model.rank``), whatever came
before it, how often, and in which order; a tombstone stays; a provisional row never overwrites
anything. The caller owns the transaction.
"""

from collections.abc import Iterable, Sequence
from typing import Any
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

# One array a column: five times the speed of a VALUES list, and one plan for every batch size. The
# types stand in the statement, so that SQLAlchemy hands the lists to the driver as they are.
_WRITE_IF_NEWER = text(
    f"""
    INSERT INTO users AS present ({", ".join(_COLUMNS)})
    SELECT {", ".join(f"{name}::text[]" if name == "roles" else name for name in _COLUMNS)}
    FROM unnest({", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items())})
        AS coming ({", ".join(_COLUMNS)})
    ON CONFLICT (id) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "id")},
        applied_at = now()
    WHERE (present.deleted_at IS NOT NULL, present.version)
        < (excluded.deleted_at IS NOT NULL, excluded.version)
    RETURNING id
    """  # noqa: S608 - made of the constant names above
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
            _array_literal(state.roles),
            state.status,
            state.tokens_valid_after,
            state.created_at,
            state.updated_at,
            None,
        )
    return (
        state.id, state.version, None, False, "{}", "deleted", None, None, None, state.deleted_at
    )  # fmt: skip


def _array_literal(texts: Iterable[str]) -> str:
    r"""PostgreSQL's text form of an array, in which only ``"`` and ``\`` need an escape."""
    escaped = (text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"
