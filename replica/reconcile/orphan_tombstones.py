"""Keep account of the tombstones that the source never had, so that they count in no digest.

Otherwise the digests of a replica that agrees with its source would differ permanently. There are
two kinds: those of orphans that were buried here, and those of users that a source which was set
back does not know any more.

An entry is an id and a version: once the source's own tombstone replaces the row, that one counts.
The triggers look an entry up for each tombstone that they count, so an entry changes only together
with its row, or under the row's lock and with a change of the digests.
"""

from functools import cache, partial
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.digest_sql import bucket_sums_sql
from contracts.sync.maintained_digests import change_sql
from replica.digests.table import ADD_ORPHAN_TOMBSTONES, ORPHAN_TOMBSTONES
from replica.reconcile.classify_and_repair import retried
from replica.table import Replica

BATCH: Final = 10_000
"""Tombstones of one statement, in some 100 ms; other writers of these rows wait for it."""

_UNKNOWN: Final = f"""
    SELECT users.* FROM {{users}} AS users JOIN seen ON seen.id = users.id
    WHERE seen.is_deleted AND seen.version = users.version AND users.deleted_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM staged WHERE staged.id = users.id)
        AND NOT EXISTS (
            SELECT FROM {ORPHAN_TOMBSTONES} AS orphan
            WHERE orphan.id = users.id AND orphan.version = users.version
        )
    ORDER BY users.id LIMIT {BATCH} FOR UPDATE OF users
"""  # noqa: S608 - made of constants

_KNOWN: Final = f"""
    SELECT users.* FROM {{users}} AS users JOIN {ORPHAN_TOMBSTONES} AS orphan
        ON orphan.id = users.id AND orphan.version = users.version
    WHERE users.deleted_at IS NOT NULL
        AND EXISTS (SELECT FROM staged WHERE staged.id = users.id)
    ORDER BY users.id LIMIT {BATCH} FOR UPDATE OF users
"""  # noqa: S608 - made of constants


class _Statements:
    """The statements for one replica; each returns the buckets that it changed."""

    def __init__(self, replica: Replica) -> None:
        def change(plus: str | None, minus: str | None) -> str:
            return change_sql(
                bucket_sums_sql(plus, minus=minus, has_all_fields=replica.has_all_fields)
            )

        self.add: Final = text(
            f"""
            WITH unknown AS MATERIALIZED ({_UNKNOWN.format(users=replica.name)}), added AS (
                {ADD_ORPHAN_TOMBSTONES.format(rows="unknown")}
            ), changed AS ({change(None, "unknown")})
            SELECT count(*) FROM unknown
            """  # noqa: S608 - made of names in the code
        )
        self.remove: Final = text(
            f"""
            WITH known AS MATERIALIZED ({_KNOWN.format(users=replica.name)}), removed AS (
                DELETE FROM {ORPHAN_TOMBSTONES} AS orphan USING known WHERE orphan.id = known.id
            ), changed AS ({change("known", None)})
            SELECT count(*) FROM known
            """  # noqa: S608 - made of names in the code
        )


_statements = cache(_Statements)


async def account_for_tombstones(replica: Replica, connection: AsyncConnection) -> None:
    """Leave out of the digests the tombstones that the source does not know, and no others.

    Parameters:
        replica: whose tombstones.
        connection: the session of a comparison, outside a transaction; its tables say what the
            replica had and what the source has, after everything in flight has arrived.
    """
    for statement in (_statements(replica).add, _statements(replica).remove):
        found = BATCH
        while found == BATCH:
            found = await retried(partial(_count, connection, statement))


async def _count(connection: AsyncConnection, statement: TextClause) -> int:
    async with connection.begin():
        found: int = (await connection.execute(statement)).scalar_one()
    return found
