"""The columns that a replica's table may have, and what each has to be able to hold. Pure.

Guarantees: a table that could not hold every event, or not in every order, is refused when the
program starts, with a sentence that names the column.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a user that may be replicated.

    ``types`` are those of a column that can hold every event's value; ``sent_as`` is the type of
    values on their way to the database; ``cleared`` is a tombstone's value, in Python and in SQL.
    """

    types: tuple[str, ...]
    sent_as: str
    cleared: Any = None
    cleared_sql: str = "NULL"


_TEXT: Final = ("TEXT", "VARCHAR")
_TIME: Final = ("TIMESTAMP WITH TIME ZONE",)

FIELDS: Final = {
    "id": Field(("UUID",), "uuid"),
    "version": Field(("BIGINT",), "bigint"),
    "email": Field(_TEXT, "text"),
    "email_verified": Field(("BOOLEAN",), "boolean", cleared=False, cleared_sql="false"),
    # As an array's literal, for unnest would flatten an array of arrays.
    "roles": Field(("TEXT[]", "VARCHAR[]"), "text", cleared=(), cleared_sql="'{}'"),
    "status": Field(_TEXT, "text", cleared="deleted", cleared_sql="'deleted'"),
    "tokens_valid_after": Field(_TIME, "timestamptz"),
    "created_at": Field(_TIME, "timestamptz"),
    "updated_at": Field(_TIME, "timestamptz"),
    "deleted_at": Field(_TIME, "timestamptz"),
}
"""All fields that can be replicated, in the order in which the source sends them."""

REQUIRED: Final = ("id", "version", "deleted_at")
"""No replica works without these."""

APPLIED_AT: Final = "applied_at"
"""A column that a table may have as well: when its row was last written."""

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


class NotAReplica(ValueError):
    """The table cannot be kept in step; the message says which column is wrong, and how."""


def require_replica(table: Table, also: Mapping[str, str]) -> None:
    """Refuse a table that could not hold every event, or not in every order.

    Parameters:
        also: columns of the service's own that are written with every state, with their SQL.

    Raises:
        NotAReplica: with the column, and what it needs.
    """
    if missing := [name for name in REQUIRED if name not in table.c]:
        raise NotAReplica(f"{table} has no {' and no '.join(missing)}")
    if list(table.primary_key) != [table.c.id]:
        raise NotAReplica(f"the primary key of {table} is not id")
    if unknown := [name for name in also if name in FIELDS or name not in table.c]:
        raise NotAReplica(f"{table} has no column of its own called {' or '.join(unknown)}")
    for column in table.c:
        if column.name in FIELDS:
            _require_room(column, FIELDS[column.name])
        elif _needs_value(column) and column.name not in also:
            raise NotAReplica(
                f"{column}: an event has no value for it; make it nullable, or give it a"
                " server_default"
            )
    rules: list[UniqueConstraint | Index] = [index for index in table.indexes if index.unique]
    rules += [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    for rule in rules:
        if names := [column.name for column in rule.columns if column.name in FIELDS]:
            raise NotAReplica(
                f"{table}.{names[0]} must not be unique: two users who swap theirs may come in"
                " either order"
            )


def _require_room(column: Column[Any], field: Field) -> None:
    """Refuse a column that cannot hold the value of an event, or of a tombstone."""
    kind = column.type.compile(_DIALECT)
    if kind not in field.types:
        raise NotAReplica(f"{column} is {kind}; an event needs {' or '.join(field.types)}")
    is_cleared = column.name == "deleted_at" or column.name not in REQUIRED
    if is_cleared and field.cleared is None and not column.nullable:
        raise NotAReplica(f"{column} must be nullable: not every state has a value for it")


def _needs_value(column: Column[Any]) -> bool:
    return not (column.nullable or column.server_default or column.identity or column.computed)


def table_name(table: Table) -> str:
    """Return the table's name as SQL has it, quoted where needed."""
    name: str = _DIALECT.identifier_preparer.format_table(table)
    return name


def array_literal(texts: Iterable[str]) -> str:
    r"""Write an array in PostgreSQL's text form, where only ``"`` and ``\`` need an escape."""
    escaped = (text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"
