"""Define a service's replica, and write its table. The only code that does.

Step 6 of 6.

The table has ``id``, ``version`` and ``deleted_at``, of the other ``FIELDS`` those that the service
needs and no more, and any columns of the service's own.

Guarantees: a state is written only under one of two guards. *Newer* is for events, replays and most
repairs: however often and in whichever order states arrive, through any number of consumers, the
newest one wins (``contracts.sync.merge``) and a tombstone, which clears every other field, stays.
*As compared* is for the other repairs, which may write the same or a lower version: the row is
still the one that was compared with the source. A provisional row never overwrites anything. One
statement writes any number of states in the order of ids, so that two writers never deadlock. The
caller owns the transaction.

Not here: messages (``inbox``), the proof that a replica agrees with its source (``reconcile``).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import VERSION_MAX, UserEvent
from contracts.sync.merge import Outcome, Rank, State, fold, outcomes
from replica.columns import APPLIED_AT, FIELDS, array_literal, require_replica, table_name
from replica.digests.table import ADD_ORPHAN_TOMBSTONES, ORPHAN_TOMBSTONES
from replica.queue_names import QueueNames
from service_kit.database.digests.read import UsersTable
from service_kit.process.readings import Reading

Erase: TypeAlias = Callable[[AsyncConnection, Sequence[UUID]], Awaitable[None]]
"""Erase everything of some users, in the caller's transaction."""


Fetch: TypeAlias = Callable[..., Awaitable[Sequence[Any]]]
"""Runs a statement, whose parameters are $1, $2 and so on, with their values; returns the rows."""


class Gauges(NamedTuple):
    """Gauges of the service's own, and how to set them from its database."""

    readings: tuple[Reading, ...]
    refresh: Callable[[AsyncConnection], Awaitable[None]]


class Replica:
    """A service's copy of the users: its name, its table, and what the service does about users.

    Parameters:
        table: in PostgreSQL.
        service: the service's name, the prefix of its queues.
        command: the service's command in messages for operators; by default NAME-service.
        also: columns of the service's own that are written with every state, each with the SQL of
            its value, in which ``coming`` is the state. ``applied_at`` needs no mention.
        also_buried: other SQL for some of them where the tombstone is not the source's.
        erase: called with users whose row was removed, because the source does not know them;
            what the service has of them goes in the same transaction. None if it has nothing.
        latest_times: SQL for times that the database's clock has shown, in the service's tables.
        gauges: shown beside the library's own.

    Raises:
        NotAReplica: the table could not hold every event, or not in every order.
    """

    def __init__(
        self,
        table: Table,
        *,
        service: str,
        command: str | None = None,
        also: Mapping[str, str] = MappingProxyType({}),
        also_buried: Mapping[str, str] = MappingProxyType({}),
        erase: Erase | None = None,
        latest_times: Sequence[str] = (),
        gauges: Gauges | None = None,
    ) -> None:
        also = dict(also)
        if APPLIED_AT in table.c:
            also.setdefault(APPLIED_AT, "now()")
        require_replica(table, also)
        self.service: Final = service
        self.command: Final = command or f"{service}-service"
        self.queues: Final = QueueNames(service)
        self.table: Final = table
        self.name: Final = table_name(table)
        self.columns: Final = tuple(name for name in FIELDS if name in table.c)
        self.latest_times: Final = tuple(latest_times)
        self.gauges: Final = gauges
        self._also = also
        self._also_buried = also | dict(also_buried)
        self._erase = erase
        # One array a column: five times the speed of a VALUES list, and one plan for every number
        # of states. The types stand in the statement, so that SQLAlchemy hands the lists to the
        # driver as they are.
        arrays = ", ".join(f"CAST(:{name} AS {FIELDS[name].sent_as}[])" for name in self.columns)
        states = f"unnest({arrays}) AS state ({', '.join(self.columns)})"
        self._write = text(self.write_if_newer_sql(f"(SELECT * FROM {states})"))  # noqa: S608 - constants
        numbered = ", ".join(
            f"${number}::{FIELDS[name].sent_as}[]" for number, name in enumerate(self.columns, 1)
        )
        of_the_driver = f"unnest({numbered}) AS state ({', '.join(self.columns)})"
        self._write_alone = self.write_if_newer_sql(f"(SELECT * FROM {of_the_driver})")  # noqa: S608 - constants
        self._ranks_alone = (
            "SELECT id, deleted_at IS NOT NULL AS is_deleted, version"  # noqa: S608 - a constant
            f" FROM {self.name} WHERE id = ANY($1::uuid[])"
        )
        self._provide = text(self._provide_sql())
        self._bury = text(self._bury_sql())
        self._remove_provisional = text(
            f"DELETE FROM {self.name} WHERE id = ANY(CAST(:ids AS uuid[]))"  # noqa: S608 - a constant
            " AND version = 0 AND deleted_at IS NULL RETURNING id"
        )

    @property
    def digested(self) -> UsersTable:
        """The table, as its maintained digests need it."""
        return UsersTable(self.name, self.has_all_fields, ORPHAN_TOMBSTONES)

    @property
    def has_all_fields(self) -> bool:
        """Whether digests of whole rows can be computed; otherwise versions alone are compared."""
        return len(self.columns) == len(FIELDS)

    async def apply(
        self, connection: AsyncConnection, events: Sequence[UserEvent]
    ) -> list[Outcome]:
        """Merge ``events`` into the table; return what each of them did, in their order."""
        return await self.write(connection, [event.data for event in events])

    async def write(self, connection: AsyncConnection, states: Sequence[State]) -> list[Outcome]:
        """Merge ``states`` into the table; return what each of them did, in their order."""
        if not states:
            return []
        winners = fold(states)
        written = await connection.execute(self._write, self._values(winners))
        unwritten = {state.id for state in winners}.difference(written.scalars())
        return outcomes(states, await self._ranks(connection, unwritten) if unwritten else {})

    async def write_alone(self, fetch: Fetch, states: Sequence[State]) -> list[Outcome]:
        """Merge ``states`` in one statement and transaction; return what each did, in their order.

        Raises:
            Exception: what ``fetch`` raises. The states may have been written all the same.
        """
        winners = fold(states)
        values = self._values(winners)
        rows = await fetch(self._write_alone, *(values[name] for name in self.columns))
        unwritten = {state.id for state in winners}.difference(row["id"] for row in rows)
        present = await fetch(self._ranks_alone, list(unwritten)) if unwritten else []
        return outcomes(states, {row["id"]: (row["is_deleted"], row["version"]) for row in present})

    async def provide(self, connection: AsyncConnection, user_id: UUID) -> None:
        """Ensure that there is a row for a user whose valid token came before their event.

        A new row has an id and nothing else (version 0), so that every event is newer; an existing
        row, even a tombstone, stays as it is.
        """
        await connection.execute(self._provide, {"id": user_id})

    async def bury(
        self, connection: AsyncConnection, compared: Sequence[tuple[UUID, int]]
    ) -> set[UUID]:
        """Replace users unknown to the source by tombstones, one version higher.

        Such a tombstone counts in no digest: the triggers, which run after the statement, find it
        among the ``orphan_tombstones``.

        The highest possible version stays: a tombstone beats a living state of the same version.

        Parameters:
            compared: ids, each with the version that was compared; a row that has another version
                now is left. The caller holds the users' locks (``locks``).

        Returns:
            The ids of those who were buried.
        """
        values = {
            "ids": [user_id for user_id, _ in compared],
            "versions": [version for _, version in compared],
            "version_max": VERSION_MAX,
        }
        return set((await connection.execute(self._bury, values)).scalars())

    async def remove_provisional(
        self, connection: AsyncConnection, user_ids: Sequence[UUID]
    ) -> set[UUID]:
        """Remove rows that are still provisional, with everything that the service has of them.

        They leave no tombstone by which content could be erased later. They were never more than a
        token that is valid for minutes, so there is little to erase in this transaction.
        """
        values = {"ids": list(user_ids)}
        removed = set((await connection.execute(self._remove_provisional, values)).scalars())
        if removed and self._erase is not None:
            await self._erase(connection, list(removed))
        return removed

    async def is_deleted(self, connection: AsyncConnection, user_id: UUID) -> bool:
        """Whether the table has this user's tombstone."""
        present = self.table.c
        query = select(present.deleted_at.is_not(None)).where(present.id == user_id)
        return bool(await connection.scalar(query))

    def write_if_newer_sql(self, rows: str) -> str:
        """SQL that merges ``rows``, an item of FROM with ``columns``, into the table.

        One row a user, in the order of ids. Returns the ids of those that were written.
        """
        values = self._coming() | self._also
        return f"""
            {self._insert_sql(rows)} (id) DO UPDATE SET
                {", ".join(f"{name} = excluded.{name}" for name in values if name != "id")}
            WHERE (present.deleted_at IS NOT NULL, present.version)
                < (excluded.deleted_at IS NOT NULL, excluded.version)
            RETURNING present.id
            """

    def write_if_absent_sql(self, rows: str) -> str:
        """SQL that writes those of ``rows`` whose users have no row, and leaves all others.

        Such a state is *newer* than nothing. Otherwise as ``write_if_newer_sql``.
        """
        return f"{self._insert_sql(rows)} (id) DO NOTHING RETURNING present.id"

    def write_as_compared_sql(self, rows: str) -> str:
        """SQL that writes ``rows`` under the guard *as compared*.

        ``rows`` is an item of FROM with ``columns`` and ``compared_version``, of users who were
        alive on both sides, or deleted on both. Returns the ids of those that were written.
        """
        return f"""
            UPDATE {self.name} AS present SET {self._assignments(self._also)}
            FROM {rows} AS coming
            WHERE present.id = coming.id AND present.version = coming.compared_version
                AND (present.deleted_at IS NULL) = (coming.deleted_at IS NULL)
            RETURNING present.id
            """  # noqa: S608 - made of names in the code

    def _bury_sql(self) -> str:
        cleared = self._cleared_sql("deleted_at", "version")
        return f"""
            WITH buried AS (UPDATE {self.name} AS present SET {self._assignments(self._also_buried)}
            FROM (
                SELECT id, version AS compared_version,
                    LEAST(version + 1, CAST(:version_max AS bigint)) AS version,
                    now() AS deleted_at{cleared}
                FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS bigint[]))
                    AS compared (id, version)
            ) AS coming
            WHERE present.id = coming.id AND present.version = coming.compared_version
                AND present.deleted_at IS NULL AND present.version > 0
            RETURNING present.id, present.version
            ), added AS ({ADD_ORPHAN_TOMBSTONES.format(rows="buried")})
            SELECT id FROM buried
            """  # noqa: S608 - made of names in the code

    def _provide_sql(self) -> str:
        values = self._coming() | self._also
        cleared = self._cleared_sql("version", "status")
        status = ", 'provisional' AS status" if "status" in self.columns else ""
        return f"""
            INSERT INTO {self.name} ({", ".join(values)})
            SELECT {", ".join(values.values())} FROM (
                SELECT CAST(:id AS uuid) AS id, CAST(0 AS bigint) AS version{status}{cleared}
            ) AS coming
            ON CONFLICT DO NOTHING
            """  # noqa: S608 - made of names in the code

    def _insert_sql(self, rows: str) -> str:
        values = self._coming() | self._also
        return f"""
            INSERT INTO {self.name} AS present ({", ".join(values)})
            SELECT {", ".join(values.values())} FROM {rows} AS coming
            ON CONFLICT"""  # noqa: S608 - made of names in the code

    def _coming(self) -> dict[str, str]:
        return {
            name: f"coming.{name}::text[]" if name == "roles" else f"coming.{name}"
            for name in self.columns
        }

    def _assignments(self, also: Mapping[str, str]) -> str:
        values = self._coming() | dict(also)
        return ", ".join(f"{name} = {value}" for name, value in values.items() if name != "id")

    def _cleared_sql(self, *given: str) -> str:
        """More columns of a SELECT list: a tombstone's values, of all columns but some."""
        names = [name for name in self.columns if name not in ("id", *given)]
        columns = ((name, FIELDS[name]) for name in names)
        return "".join(
            f", CAST({field.cleared_sql} AS {'text[]' if name == 'roles' else field.sent_as})"
            f" AS {name}"
            for name, field in columns
        )

    async def _ranks(self, connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, Rank]:
        present = self.table.c
        query = select(present.id, present.deleted_at.is_not(None), present.version)
        rows = await connection.execute(query.where(present.id.in_(ids)))
        return {user_id: (is_deleted, version) for user_id, is_deleted, version in rows}

    def _values(self, states: Sequence[State]) -> dict[str, list[Any]]:
        rows = [vars(state) for state in states]
        values = {
            name: [row.get(name, FIELDS[name].cleared) for row in rows] for name in self.columns
        }
        if "roles" in values:
            values["roles"] = [array_literal(roles) for roles in values["roles"]]
        return values
