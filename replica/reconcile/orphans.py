"""Orphans, unknown to the source: count them, and delete them on request, under the brake.

Guarantees: all or nothing, as far as the brake goes; each as compared, so that one who moved
meanwhile is left; a tombstone here for an id that the source does not know agrees with it; what a
provisional one wrote goes with them, and a buried one's is hidden at once and erased after a week
(``erasure``).
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.inbox.parking import erase
from replica.locks import lock
from replica.reconcile.classify_and_repair import retried
from replica.reconcile.model import FINDINGS_MAX, Finding, Kind, Tally, brake
from replica.table import Replica

BATCH: Final = 1_000
"""Users that one transaction buries."""

_UNKNOWN: Final = """
    SELECT r.id, r.version, u.version = r.version AS is_unmoved
    FROM seen r JOIN {users} u ON u.id = r.id
    WHERE NOT r.is_deleted AND u.deleted_at IS NULL
        AND NOT EXISTS (SELECT FROM staged s WHERE s.id = r.id)
"""

_COUNT: Final = f"""
    SELECT count(*) FILTER (WHERE is_unmoved AND version > 0) AS orphans,
           count(*) FILTER (WHERE is_unmoved AND version = 0) AS provisional,
           count(*) FILTER (WHERE NOT is_unmoved) AS in_flight
    FROM ({_UNKNOWN}) AS unknown
"""  # noqa: S608 - made of a constant

_LIST: Final = f"""
    SELECT id, version FROM ({_UNKNOWN}) AS unknown
    WHERE is_unmoved AND (version = 0) = CAST(:provisional AS boolean)
    ORDER BY id LIMIT :limit
"""  # noqa: S608 - made of a constant


async def repair_orphans(
    replica: Replica,
    lanes: Sequence[AsyncConnection],
    repairs: frozenset[Kind],
    deletions_max: int,
    tally: Tally,
) -> str | None:
    """Count in all lanes, and repair if asked; why the brake held, or None."""
    found = [await _count(replica, lane) for lane in lanes]
    orphans = sum(each.orphans for each in found)
    held = (
        brake(orphans, deletions_max, command=replica.command) if Kind.ORPHAN in repairs else None
    )
    for lane, each in zip(lanes, found, strict=True):
        tally.in_flight += each.in_flight
        for kind, count in (
            (Kind.ORPHAN, each.orphans),
            (Kind.PROVISIONAL_ORPHAN, each.provisional),
        ):
            if count:
                is_asked_for = kind in repairs and not (kind is Kind.ORPHAN and held)
                await _of_kind(replica, lane, kind, count, is_asked_for, tally)
    return held


async def _count(replica: Replica, connection: AsyncConnection) -> Row[Any]:
    async with connection.begin():
        return (await connection.execute(text(_COUNT.format(users=replica.name)))).one()


async def _of_kind(
    replica: Replica,
    connection: AsyncConnection,
    kind: Kind,
    count: int,
    is_asked_for: bool,
    tally: Tally,
) -> None:
    gone: set[UUID] = set()
    if is_asked_for:
        rows = [row async for row in _unknown(replica, connection, kind, count)]
        for start in range(0, len(rows), BATCH):
            gone |= await _bury(replica, connection, kind, rows[start : start + BATCH])
        for user_id, version in rows:
            if user_id in gone:
                tally.list(Finding(user_id, kind, None, version, repaired=True))
        # A row that was to go and did not has moved meanwhile.
        tally.in_flight += count - len(gone)
        count = len(gone)
    else:
        limit = count if tally.names_all(kind) else FINDINGS_MAX
        async for user_id, version in _unknown(replica, connection, kind, limit):
            tally.list(Finding(user_id, kind, None, version, repaired=False))
    tally.add(kind, differing=count, repaired=len(gone))


async def _unknown(
    replica: Replica, connection: AsyncConnection, kind: Kind, limit: int
) -> AsyncGenerator[tuple[UUID, int]]:
    """Yield ids and versions of users unknown to the source, a few in memory at a time."""
    statement = text(_LIST.format(users=replica.name))
    values = {"provisional": kind is Kind.PROVISIONAL_ORPHAN, "limit": limit}
    async with connection.begin(), connection.stream(statement, values) as found:
        async for row in found:
            yield row.id, row.version


async def _bury(
    replica: Replica,
    connection: AsyncConnection,
    kind: Kind,
    rows: Sequence[tuple[UUID, int]],
) -> set[UUID]:
    async def once() -> set[UUID]:
        ids = [user_id for user_id, _ in rows]
        async with connection.begin():
            if kind is Kind.PROVISIONAL_ORPHAN:
                return await replica.remove_provisional(connection, ids)
            await lock(connection, ids)
            await erase(connection, ids)
            return await replica.bury(connection, rows)

    return await retried(once)
