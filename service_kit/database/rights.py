"""Give each kind of process the rights on tables that it is declared to have.

An owner migrates, and owns every table. The other roles are named for the service and the kind of
process, such as ``auth_relay``. ``operator`` has the rights of all kinds, for commands.

Guarantees: a role has what the declaration says when this has run, and nothing else in the schema;
services see the change at once, as a whole. Roles that do not exist are left out, so a deployment
with one role for everything works.

Not here: creating roles, which takes an administrator.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_kit.database.sessions import quoted

OPERATOR: Final = "operator"
"""The kind whose role has the rights of all others, for the commands of operators."""

REVISIONS: Final = "alembic_version"
"""The table of the migrations, which every role may read."""

READ: Final = "SELECT"
ADD: Final = "SELECT, INSERT"
CHANGE: Final = "SELECT, UPDATE"
WRITE: Final = "SELECT, INSERT, UPDATE"
REMOVE: Final = "SELECT, DELETE"
ALL: Final = "SELECT, INSERT, UPDATE, DELETE"
"""Without TRUNCATE, REFERENCES and TRIGGER, which no process needs."""


@dataclass(frozen=True)
class Rights:
    """What the kinds of processes of one service may do.

    Parameters:
        tables: by table and kind, privileges as GRANT lists them, also of columns.
        temporary: kinds that create temporary tables.
        operators_sequences: columns (``table.column``) whose numbers operators may move.
    """

    tables: Mapping[str, Mapping[str, str]]
    temporary: frozenset[str] = frozenset()
    operators_sequences: Collection[str] = field(default=())

    @property
    def kinds(self) -> list[str]:
        """All kinds of processes, and operators."""
        named = {kind for of_table in self.tables.values() for kind in of_table}
        return [*sorted(named), OPERATOR]

    def is_temporary(self, kind: str) -> bool:
        """Whether a kind creates temporary tables."""
        return kind in self.temporary or (kind == OPERATOR and bool(self.temporary))

    def of(self, kind: str) -> list[tuple[str, str]]:
        """Return each table and privileges of a kind; operators have those of all."""
        return [
            (table, privileges)
            for table, by_kind in self.tables.items()
            for one, privileges in by_kind.items()
            if kind in (one, OPERATOR)
        ]


_ROLES: Final = text(
    "SELECT rolname FROM pg_roles WHERE rolname = ANY(CAST(:names AS text[]))"
    " AND rolname <> current_user"
)
_OWN_TABLES: Final = text(
    "SELECT relname, array_agg(attname::text) AS columns"
    " FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
    " WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace(quote_ident(:schema))"
    " AND attnum > 0 AND NOT attisdropped AND pg_has_role(relowner, 'USAGE') GROUP BY relname"
)
_PRIVILEGE: Final = re.compile(r"(\w+)(?: \(([^)]*)\))?")
"""A privilege as GRANT lists it, and its columns if there are any."""
_DATABASE: Final = text(
    "SELECT current_database() WHERE"
    " has_database_privilege(current_database(), 'CONNECT WITH GRANT OPTION')"
)
_SEQUENCE: Final = text("SELECT pg_get_serial_sequence(:table, :column)")


def role(prefix: str, kind: str) -> str:
    """The name of a role, such as ``auth_relay``."""
    return f"{prefix}_{kind}"


async def give_rights(
    connection: AsyncConnection, rights: Rights, *, prefix: str, schema: str
) -> None:
    """Give the roles that exist their rights, in one transaction, which the caller owns.

    Parameters:
        connection: as the owner of the tables.
        rights: the declaration.
        prefix: of the roles' names.
        schema: where the tables are.
    """
    kinds = {role(prefix, kind): kind for kind in rights.kinds}
    present = set((await connection.execute(_ROLES, {"names": list(kinds)})).scalars())
    own = (await connection.execute(_OWN_TABLES, {"schema": schema})).all()
    tables = {row.relname: set(row.columns) for row in own}
    database = await connection.scalar(_DATABASE)
    sequences = [
        sequence
        for table, _, column in (each.partition(".") for each in rights.operators_sequences)
        if table in tables
        and (
            sequence := await connection.scalar(
                _SEQUENCE, {"table": f"{quoted(schema)}.{quoted(table)}", "column": column}
            )
        )
    ]
    for name in sorted(present):
        for statement in _statements(
            rights, kinds[name], quoted(name), quoted(schema), tables, database, sequences
        ):
            await connection.execute(text(statement))


def _statements(
    rights: Rights,
    kind: str,
    to: str,
    schema: str,
    tables: Mapping[str, Collection[str]],
    database: str | None,
    sequences: Collection[str],
) -> list[str]:
    statements = [f"GRANT USAGE ON SCHEMA {schema} TO {to}"]
    if database is not None:
        needs = "CONNECT, TEMPORARY" if rights.is_temporary(kind) else "CONNECT"
        statements.append(f"GRANT {needs} ON DATABASE {quoted(database)} TO {to}")
    # What an earlier release needed and this one does not.
    statements += [f"REVOKE ALL ON {schema}.{quoted(table)} FROM {to}" for table in tables]
    statements += [
        f"GRANT {there} ON {schema}.{quoted(table)} TO {to}"
        for table, privileges in [*rights.of(kind), (REVISIONS, READ)]
        if table in tables and (there := _on_columns(privileges, tables[table]))
    ]
    if kind == OPERATOR:
        statements += [f"GRANT USAGE, UPDATE ON SEQUENCE {name} TO {to}" for name in sequences]
    return statements


def _on_columns(privileges: str, there: Collection[str]) -> str:
    """Those privileges whose columns exist: an earlier revision has fewer."""
    kept = []
    for name, listed in _PRIVILEGE.findall(privileges):
        columns = [column for column in listed.split(", ") if column in there]
        if columns:
            kept.append(f"{name} ({', '.join(columns)})")
        elif not listed:
            kept.append(name)
    return ", ".join(kept)
