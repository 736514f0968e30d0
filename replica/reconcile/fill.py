"""Write users who have no row in the replica, a batch at a time, before any user is told apart.

Where most users are missing, as in an empty replica, a bare insertion takes two thirds of the time
of telling each user's kind and writing those of some kinds (``classify_and_repair``). It leaves the
others to that: users with an unpublished event, and those who have a row by now.

Guarantees: the users that are written were missing at that moment; an event that arrives earlier or
later is treated as always. A tombstone is written only under its user's lock, and erases what is
parked of them. Each batch is a transaction, and so are the tombstones of some of its users.
"""

from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.inbox.parking import erase
from replica.locks import lock
from replica.reconcile.classify_and_repair import IN_PAGES, LOCKS_MAX, may_pass, pages_of
from replica.reconcile.model import Kind, Tally
from replica.table import Replica

FILL_PAGES: Final = 400
"""About twenty thousand users: one transaction of some 150 ms. The larger it is, the fewer changes
of digests it leaves to be folded."""


class _Statements:
    """The statements that fill one replica; each returns who was left."""

    def __init__(self, replica: Replica) -> None:
        def write(rows: str) -> str:
            return replica.write_if_absent_sql(
                f"(SELECT * FROM staged s WHERE {rows} ORDER BY id)"  # noqa: S608 - constants
            )

        left = "NOT EXISTS (SELECT FROM written WHERE written.id = s.id)"
        is_tombstone = "s.deleted_at IS NOT NULL AND NOT s.unpublished"
        self.living: Final = text(
            f"""
            WITH written AS ({write(f"{IN_PAGES} AND s.deleted_at IS NULL AND NOT s.unpublished")})
            SELECT (SELECT count(*) FROM written) AS written,
                array_agg(s.id) FILTER (WHERE {is_tombstone}) AS tombstones,
                array_agg(s.id) FILTER (WHERE NOT ({is_tombstone})) AS left
            FROM staged s WHERE {IN_PAGES} AND {left}
            """  # noqa: S608 - made of names in the code
        )
        some = f"{IN_PAGES} AND s.id = ANY(CAST(:ids AS uuid[]))"
        self.tombstones: Final = text(
            f"""
            WITH written AS ({write(some)})
            SELECT s.id FROM staged s WHERE {some} AND {left}
            """  # noqa: S608 - made of names in the code
        )


_statements = cache(_Statements)


async def fill(
    replica: Replica, connection: AsyncConnection, first: int, pages: int, tally: Tally
) -> list[UUID] | None:
    """Write those of ``pages`` pages of ``staged`` from ``first`` on who have no row.

    Parameters:
        tally: gets how many were written; it must not want to name them.

    Returns:
        Who was left, to be told apart; None if that may be anybody, because another session held
        the batch up.
    """
    statements, batch = _statements(replica), pages_of(first, pages)
    try:
        async with connection.begin():
            found = (await connection.execute(statements.living, batch)).one()
        _count(tally, found.written)
        left, dead = list(found.left or ()), found.tombstones or ()
        for start in range(0, len(dead), LOCKS_MAX):
            ids = dead[start : start + LOCKS_MAX]
            async with connection.begin():
                await lock(connection, ids)
                await erase(connection, ids)
                present = await connection.scalars(statements.tombstones, batch | {"ids": ids})
                of_these = list(present)
            _count(tally, len(ids) - len(of_these))
            left += of_these
    except DBAPIError as error:
        if may_pass(error):
            return None
        raise
    return left


def _count(tally: Tally, written: int) -> None:
    tally.add(Kind.MISSING, differing=written, repaired=written)
