"""Tell apart how users differ, and repair them, a batch at a time.

A batch is some pages of ``staged``: one statement reads it once, at any size, tells each
user's kind from what the replica holds at that moment, writes those that are to be repaired through
the replica's one writer, and returns counts. Each batch is a transaction: a run that is cut
off leaves a replica that is better than before, and the next one continues.

Guarantees: in flight is not drift (a user with an unpublished event, or one who changed meanwhile);
a row that moved, or that another session holds, is left; a tombstone is written only under its
user's lock, and erases what is parked of them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.digest_sql import state_hash_sql
from replica.inbox.locked_rows import locked_users
from replica.inbox.parking import erase
from replica.locks import lock
from replica.reconcile.model import (
    AS_COMPARED,
    NEWER,
    Finding,
    Kind,
    Tally,
)
from replica.table import Replica

BATCH_PAGES: Final = 100
"""About five thousand users: one transaction of some 100 ms, behind which live events wait."""

LOCKS_MAX: Final = 1_000
"""Users' locks in one transaction. Tombstones are small, and 100 pages may hold 8,000; the table of
locks is all databases' of a server, and has room for 6,400 by default."""

TRIES_MAX: Final = 5
"""Of a batch that met a deadlock or a lock that was held too long."""

_MAY_PASS: Final = ("40P01", "55P03", "40001")
"""SQLSTATEs of what may be well the next time."""

IN_PAGES: Final = (
    "s.ctid >= CAST(CAST(:first AS text) AS tid) AND s.ctid < CAST(CAST(:next AS text) AS tid)"
)
"""SQL that selects the batch from ``staged s``; ``pages_of`` has the parameters."""

_BATCH: Final = """
    FROM staged s LEFT JOIN seen r ON r.id = s.id LEFT JOIN {users} u ON u.id = s.id
    WHERE {pages} AND (CAST(:is_all AS boolean) OR s.id = ANY(CAST(:only AS uuid[])))
"""

# A batch is small, despite the planner's estimates of growing tables: so each of its users is
# looked up by index.
_BY_INDEX = text(
    "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
)


class _Statements:
    """The statements that classify and repair the users of one replica.

    ``u`` is the row as it is now, ``r`` as it was before the source was asked, ``s`` what the
    source sent.
    """

    def __init__(self, replica: Replica) -> None:
        batch = _BATCH.format(users=replica.name, pages=IN_PAGES)
        self.ids: Final = text(f"SELECT s.id {batch}")
        self.tombstones: Final = text(
            f"""
            SELECT s.id {batch} AND s.deleted_at IS NOT NULL AND NOT s.unpublished
                AND (u.id IS NULL OR u.deleted_at IS NULL OR u.version <> s.version)
            """
        )
        columns = ", ".join(f"s.{name}" for name in replica.columns)
        newer = replica.write_if_newer_sql(
            "(SELECT * FROM classified WHERE kind = ANY(CAST(:newer AS text[])) ORDER BY id)"
        )
        compared = replica.write_as_compared_sql(
            "(SELECT * FROM classified WHERE kind = ANY(CAST(:as_compared AS text[])))"
        )
        classified = batch.replace(
            "WHERE", f"CROSS JOIN LATERAL (SELECT {_kind_sql(replica)} AS kind OFFSET 0) told WHERE"
        )
        self.classify_and_repair: Final = text(
            f"""
            WITH classified AS MATERIALIZED (
                SELECT {columns}, u.version AS compared_version,
                       CASE WHEN s.unpublished AND told.kind = ANY(CAST(:newer_kinds AS text[]))
                              OR s.id = ANY(CAST(:held AS uuid[]))
                            THEN 'in_flight' ELSE told.kind END AS kind
                {classified} AND told.kind IS NOT NULL
            ), newer AS ({newer}), compared AS ({compared}), written AS (
                SELECT id FROM newer UNION ALL SELECT id FROM compared
            )
            SELECT kind, count(*) AS differing, count(*) FILTER (WHERE is_repaired) AS repaired,
                   json_agg(json_build_array(id, version, compared_version, is_repaired))
                       FILTER (WHERE kind = ANY(CAST(:listed AS text[]))) AS findings
            FROM (
                SELECT *, id IN (SELECT id FROM written) AS is_repaired FROM classified
            ) AS outcomes
            GROUP BY kind
            """  # noqa: S608 - made of names in the code
        )


_statements = cache(_Statements)


def _kind_sql(replica: Replica) -> str:
    """SQL for the kind of a difference; NULL where there is none.

    It decides as ``kinds.difference`` does.

    Without all fields nobody can tell whether a row of the right version has the right content: a
    version determines it, as long as only the library writes the table.
    """
    corrupt = (
        f"WHEN {state_hash_sql('u')} <> {state_hash_sql('s')} THEN 'corrupt'"
        if replica.has_all_fields
        else ""
    )
    return f"""
        CASE
            WHEN u.id IS NULL THEN 'missing'
            WHEN u.deleted_at IS NOT NULL AND s.deleted_at IS NULL THEN
                CASE WHEN r.is_deleted THEN 'undone_deletion' ELSE 'in_flight' END
            WHEN u.deleted_at IS NULL AND s.deleted_at IS NOT NULL THEN 'undeleted'
            WHEN u.version = 0 THEN 'missing'
            WHEN u.version < s.version THEN 'stale'
            WHEN u.version > s.version THEN
                CASE WHEN r.version = u.version THEN 'ahead' ELSE 'in_flight' END
            {corrupt}
        END
        """


async def _tombstones(
    replica: Replica, connection: AsyncConnection, batch: Mapping[str, object]
) -> int:
    """How many tombstones a batch may write."""
    async with connection.begin():
        await connection.execute(_BY_INDEX)
        found = await connection.execute(_statements(replica).tombstones, batch)
        return len(list(found))


def pages_of(first: int, pages: int) -> dict[str, str]:
    """The parameters of ``IN_PAGES``."""
    return {"first": f"({first},0)", "next": f"({first + pages},0)"}


async def classify_and_repair(
    replica: Replica,
    connection: AsyncConnection,
    first: int,
    pages: int,
    repairs: frozenset[Kind],
    tally: Tally,
    only: Sequence[UUID] | None = None,
) -> None:
    """Look at ``pages`` pages of ``staged`` from ``first`` on.

    Parameters:
        repairs: the kinds to repair; none only looks.
        tally: gets what was found and done.
        only: the users of these pages to look at; None for all.
    """
    batch = {**pages_of(first, pages), "is_all": only is None, "only": only or []}
    if repairs and pages > 1 and await _tombstones(replica, connection, batch) > LOCKS_MAX:
        half = pages // 2
        for start, count in ((first, half), (first + half, pages - half)):
            await classify_and_repair(replica, connection, start, count, repairs, tally, only)
        return
    statements = _statements(replica)
    listed = [kind.value for kind in Kind if tally.wants(kind)]

    tries = 0

    async def once() -> list[Row[Any]]:
        nonlocal tries
        tries += 1
        async with connection.begin():
            await connection.execute(_BY_INDEX)
            held: set[UUID] = set()
            if repairs:
                dead = set((await connection.execute(statements.tombstones, batch)).scalars())
                if tries > 1:  # perhaps a session holds a row, and does not end
                    ids = set((await connection.execute(statements.ids, batch)).scalars())
                    held = await locked_users(replica, connection, ids, deleted=dead)
                    dead -= held
                if dead:
                    await lock(connection, dead)
                    await erase(connection, dead)
            values = {
                **batch,
                "held": list(held),
                "newer_kinds": sorted(NEWER),
                "newer": sorted(repairs & NEWER),
                "as_compared": sorted(repairs & AS_COMPARED),
                "listed": listed,
            }
            return list(await connection.execute(statements.classify_and_repair, values))

    for row in await retried(once):
        if row.kind == "in_flight":
            tally.in_flight += row.differing
            continue
        kind = Kind(row.kind)
        # One that was to be repaired and was not has moved meanwhile: it is on its way.
        moved = row.differing - row.repaired if kind in repairs else 0
        tally.in_flight += moved
        tally.add(kind, differing=row.differing - moved, repaired=row.repaired)
        for user_id, source_version, replica_version, repaired in row.findings or ():
            if repaired or not moved:
                versions = (source_version, replica_version)
                tally.list(Finding(UUID(user_id), kind, *versions, repaired))


T = TypeVar("T")


async def retried(transaction: Callable[[], Awaitable[T]]) -> T:
    """What a transaction returns, made again when it met a deadlock or a lock."""
    for _ in range(TRIES_MAX - 1):
        try:
            return await transaction()
        except DBAPIError as error:
            if not may_pass(error):
                raise
    return await transaction()


def may_pass(error: DBAPIError) -> bool:
    """Tell whether a transaction met a deadlock or a lock, so that the next try may be well."""
    return getattr(error.orig, "sqlstate", None) in _MAY_PASS
