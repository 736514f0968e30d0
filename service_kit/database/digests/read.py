"""Read the maintained digests of a table of users, or compute digests from its rows.

Guarantees: each function is one statement, so its result is exact for one snapshot, while writers
write and a fold runs.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.digest import DigestKind, Digests, PackedDigests, kinds_of
from contracts.sync.digest_sql import computed_sql
from contracts.sync.maintained_digests import maintained_sql


class UsersTable(NamedTuple):
    """A table of users whose digests are maintained.

    ``name`` is as SQL has it. Without ``has_all_fields`` there are digests of versions only.
    ``orphans`` is the table of tombstones that count in no digest, or None if there is none.
    """

    name: str
    has_all_fields: bool = True
    orphans: str | None = None


class CheckedDigests(NamedTuple):
    """Digests computed from rows, and how many buckets the maintained ones have wrong."""

    computed: Digests
    wrong: int


@cache
def _all_of(kinds: tuple[DigestKind, ...]) -> TextClause:
    return text(maintained_sql(kinds))


_SOME: Final = {
    kind: text(maintained_sql((kind,), "CAST(:buckets AS integer[])")) for kind in DigestKind
}


async def read_digests(
    connection: AsyncConnection, kinds: Collection[DigestKind] = tuple(DigestKind)
) -> Digests:
    """Read the maintained digests; it takes milliseconds, however many users there are.

    Parameters:
        connection: of the service's database.
        kinds: which digests; the others are None. One kind takes half the time of both.
    """
    return Digests(*(await connection.execute(_all_of(tuple(kinds)))).one())


async def read_some_digests(
    connection: AsyncConnection, kind: DigestKind, buckets: Sequence[int]
) -> PackedDigests:
    """Read the maintained digests of some buckets; it takes a tenth of the time of all.

    Parameters:
        connection: of the service's database.
        kind: of digests.
        buckets: their numbers, ascending.
    """
    row = (await connection.execute(_SOME[kind], {"buckets": buckets})).one()
    packed = row.state if kind is DigestKind.STATE else row.versions
    return PackedDigests(row.users, row.tombstones, packed or b"")


async def check_digests(connection: AsyncConnection, users: UsersTable) -> CheckedDigests:
    """Compute the digests from the rows of ``users``, and compare the maintained ones."""
    computed = computed_sql(*users)
    kinds = kinds_of(has_all_fields=users.has_all_fields)
    maintained = maintained_sql(kinds)
    both = f"SELECT * FROM ({computed}) AS computed CROSS JOIN ({maintained}) AS kept"  # noqa: S608
    row = tuple((await connection.execute(text(both))).one())
    half = len(row) // 2
    found, kept = Digests(*row[:half]), Digests(*row[half:])
    wrong = {bucket for kind in kinds for bucket in found.differing(kept, kind)}
    is_miscounted = (found.users, found.tombstones) != (kept.users, kept.tombstones)
    return CheckedDigests(found, len(wrong) or int(is_miscounted))
