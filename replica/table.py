"""Keep a table in step with the source's users: give it the table, and the events as they come.

The table has ``id``, ``version`` and ``deleted_at``, of the other ``FIELDS`` those that its service
needs and no more, and whatever columns of the service's own beside them.

Guarantees: whatever came before, how often, in which order and through how many consumers, the
newest state wins (``merge``) and a tombstone, which clears every other field, stays; one statement
writes any number of states, in the order of ids, so that two writers never deadlock; a table that
could not keep these promises is refused when the program starts. The caller owns the transaction.

Not here: messages (``envelope``), queues (``queues``), and the proof that a replica agrees with its
source (``replica.reconcile``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, Index, Table, UniqueConstraint, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import UserEvent
from contracts.sync.merge import Outcome, Rank, State, fold, outcomes


@dataclass(frozen=True, slots=True)
class _Field:
    """What of a user may be replicated.

    ``types``: of a column that holds whatever an event may hold; ``sent_as``: the type of its
    values on their way to the database; ``cleared``: what a tombstone has in its place.
    """

    types: tuple[str, ...]
    sent_as: str
    cleared: Any = None


_TEXT: Final = ("TEXT", "VARCHAR")
_TIME: Final = ("TIMESTAMP WITH TIME ZONE",)

_FIELDS: Final = {
    "id": _Field(("UUID",), "uuid"),
    "version": _Field(("BIGINT",), "bigint"),
    "email": _Field(_TEXT, "text"),
    "email_verified": _Field(("BOOLEAN",), "boolean", cleared=False),
    # As an array's literal, for unnest would flatten an array of arrays.
    "roles": _Field(("TEXT[]", "VARCHAR[]"), "text", cleared=()),
    "status": _Field(_TEXT, "text", cleared="deleted"),
    "tokens_valid_after": _Field(_TIME, "timestamptz"),
    "created_at": _Field(_TIME, "timestamptz"),
    "updated_at": _Field(_TIME, "timestamptz"),
    "deleted_at": _Field(_TIME, "timestamptz"),
}

FIELDS: Final = tuple(_FIELDS)
"""All that can be replicated."""

REQUIRED: Final = ("id", "version", "deleted_at")
"""What no replica works without."""

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


class NotAReplica(ValueError):
    """A table that cannot be kept in step; the message is a sentence that says why."""


class Replica:
    """The one writer of a replica's table.

    Parameters:
        table: in PostgreSQL.
        also: columns of the service's own that are written with every state, each with the SQL of
            its value, in which ``coming`` is the state.

    Raises:
        NotAReplica: the table could not hold every event, or not in every order.
    """

    def __init__(self, table: Table, *, also: Mapping[str, str] = MappingProxyType({})) -> None:
        _demand_replica(table, also)
        self.columns: Final = tuple(name for name in FIELDS if name in table.c)
        self._table = table
        self._also = dict(also)
        # One array a column: five times the speed of a VALUES list, and one plan for every number
        # of states. The types stand in the statement, so that SQLAlchemy hands the lists to the
        # driver as they are.
        arrays = ", ".join(f"CAST(:{name} AS {_FIELDS[name].sent_as}[])" for name in self.columns)
        states = f"unnest({arrays}) AS state ({', '.join(self.columns)})"
        self._write = text(self.write_if_newer_sql(f"(SELECT * FROM {states})"))  # noqa: S608 - constants

    async def apply(
        self, connection: AsyncConnection, events: Sequence[UserEvent]
    ) -> list[Outcome]:
        """Merge what ``events`` tell into the table; what each of them did, in their order."""
        return await self.write(connection, [event.data for event in events])

    async def write(self, connection: AsyncConnection, states: Sequence[State]) -> list[Outcome]:
        """Merge ``states`` into the table; what each of them did, in their order."""
        if not states:
            return []
        winners = fold(states)
        written = await connection.execute(self._write, self._values(winners))
        unwritten = {state.id for state in winners}.difference(written.scalars())
        return outcomes(states, await self._ranks(connection, unwritten) if unwritten else {})

    def write_if_newer_sql(self, rows: str) -> str:
        """SQL that merges ``rows``, an item of FROM with ``columns``, into the table.

        One row a user, in the order of ids. Returns the ids of those that were written.
        """
        values = {
            name: f"coming.{name}::text[]" if name == "roles" else f"coming.{name}"
            for name in self.columns
        } | self._also
        return f"""
            INSERT INTO {_DIALECT.identifier_preparer.format_table(self._table)} AS present
                ({", ".join(values)})
            SELECT {", ".join(values.values())} FROM {rows} AS coming
            ON CONFLICT (id) DO UPDATE SET
                {", ".join(f"{name} = excluded.{name}" for name in values if name != "id")}
            WHERE (present.deleted_at IS NOT NULL, present.version)
                < (excluded.deleted_at IS NOT NULL, excluded.version)
            RETURNING present.id
            """  # noqa: S608 - made of names in the code

    async def _ranks(self, connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, Rank]:
        present = self._table.c
        query = select(present.id, present.deleted_at.is_not(None), present.version)
        rows = await connection.execute(query.where(present.id.in_(ids)))
        return {user_id: (is_deleted, version) for user_id, is_deleted, version in rows}

    def _values(self, states: Sequence[State]) -> dict[str, list[Any]]:
        rows = [vars(state) for state in states]
        values = {
            name: [row.get(name, _FIELDS[name].cleared) for row in rows] for name in self.columns
        }
        if "roles" in values:
            values["roles"] = [array_literal(roles) for roles in values["roles"]]
        return values


def array_literal(texts: Iterable[str]) -> str:
    r"""PostgreSQL's text form of an array, in which only ``"`` and ``\`` need an escape."""
    escaped = (text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"


def _demand_replica(table: Table, also: Mapping[str, str]) -> None:
    if missing := [name for name in REQUIRED if name not in table.c]:
        raise NotAReplica(f"{table} has no {' and no '.join(missing)}")
    if list(table.primary_key) != [table.c.id]:
        raise NotAReplica(f"the primary key of {table} is not id")
    if unknown := [name for name in also if name in _FIELDS or name not in table.c]:
        raise NotAReplica(f"{table} has no column of its own called {' or '.join(unknown)}")
    for column in table.c:
        if column.name in _FIELDS:
            _demand_room(column, _FIELDS[column.name])
        elif _needs_value(column) and column.name not in also:
            raise NotAReplica(
                f"{column}: an event has no value for it; make it nullable, or give it a"
                " server_default"
            )
    rules: list[UniqueConstraint | Index] = [index for index in table.indexes if index.unique]
    rules += [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    for rule in rules:
        if names := [column.name for column in rule.columns if column.name in _FIELDS]:
            raise NotAReplica(
                f"{table}.{names[0]} must not be unique: two users who swap theirs may come in"
                " either order"
            )


def _demand_room(column: Column[Any], field: _Field) -> None:
    """Refuse a column that cannot hold what an event, or a tombstone, has for it."""
    kind = column.type.compile(_DIALECT)
    if kind not in field.types:
        raise NotAReplica(f"{column} is {kind}; an event needs {' or '.join(field.types)}")
    is_cleared = column.name == "deleted_at" or column.name not in REQUIRED
    if is_cleared and field.cleared is None and not column.nullable:
        raise NotAReplica(f"{column} must be nullable: not every state has a value for it")


def _needs_value(column: Column[Any]) -> bool:
    return not (column.nullable or column.server_default or column.identity or column.computed)
