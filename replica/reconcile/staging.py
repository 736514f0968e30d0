"""Fill the two tables of a session: what the replica has, and what the source sent.

Read the replica first, then the source. Nothing reaches the replica before it is committed at the
source; read the other way round, a user created in between would look unknown to the source.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import EMAIL_LENGTH_MAX, EMAIL_LENGTH_MIN, ROLES_MAX, VERSION_MAX
from contracts.sync.comparison import StreamBegin
from contracts.sync.digest import BUCKETS, DigestKind, Digests, PackedDigests
from contracts.sync.digest_sql import bucket_sql
from replica.columns import FIELDS, array_literal
from replica.reconcile.model import CouldNotCompare
from replica.reconcile.progress import RunProgress
from replica.reconcile.session import driver
from replica.reconcile.source import Source, UserStream
from replica.table import Replica
from service_kit.database.away import DRIVER_ERRORS
from service_kit.database.digests.check import Correction, correct_digests
from service_kit.database.digests.read import check_digests, read_digests, read_some_digests

_SEE: Final = f"""
    INSERT INTO seen SELECT id, version, deleted_at IS NOT NULL FROM {{users}} AS users
    WHERE CAST(:is_all AS boolean) OR {bucket_sql()} = ANY(CAST(:buckets AS integer[]))
"""  # noqa: S608 - made of constants

_COPIED: Final = [*FIELDS, "unpublished"]

_BOOLEAN: Final = {True: "t", False: "f"}

_LIVING: Final = ("active", "disabled")


async def replica_digests(connection: AsyncConnection, kind: DigestKind) -> Digests:
    """Read the maintained digests of the replica, of one kind."""
    async with connection.begin():
        return await read_digests(connection, (kind,))


async def some_replica_digests(
    connection: AsyncConnection, kind: DigestKind, buckets: Sequence[int]
) -> PackedDigests:
    """Read those of some buckets, ascending."""
    async with connection.begin():
        return await read_some_digests(connection, kind, buckets)


async def checked_digests(
    replica: Replica, connection: AsyncConnection
) -> tuple[Digests, Correction | None]:
    """Compute the digests of the replica from its rows, and correct the maintained ones."""
    async with connection.begin():
        digests, wrong = await check_digests(connection, replica.digested)
    return digests, await correct_digests(connection, replica.digested) if wrong else None


async def snapshot_replica(
    replica: Replica, connection: AsyncConnection, ranges: Sequence[range]
) -> None:
    """Note what the replica has in some buckets, before the source is asked about them."""
    buckets = [bucket for each in ranges for bucket in each]
    statement = text(_SEE.format(users=replica.name))
    is_all = len(buckets) == BUCKETS
    await connection.execute(statement, {"is_all": is_all, "buckets": [] if is_all else buckets})
    await connection.execute(text("CREATE UNIQUE INDEX ON seen (id)"))
    await connection.execute(text("ANALYZE seen"))
    await connection.commit()


async def stage(
    connection: AsyncConnection, source: Source, ranges: Sequence[range], progress: RunProgress
) -> StreamBegin:
    """Copy what the source has in some buckets, as it comes; how its response begins.

    Raises:
        CouldNotCompare: the response is cut short, damaged, or holds what no event may hold.
    """
    raw = await driver(connection)
    async with source.users(ranges) as stream:
        try:
            await raw.copy_to_table(
                "staged", source=_rows(stream, progress), columns=_COPIED, null=""
            )
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise _not_as_agreed(error) from None
        except DRIVER_ERRORS as error:
            raise CouldNotCompare(
                f"the replica's database broke off ({type(error).__name__}); try again"
            ) from None
    assert stream.begin is not None  # otherwise it had no end either
    await connection.execute(text("ANALYZE staged"))
    await connection.commit()
    return stream.begin


async def drop_others(connection: AsyncConnection, users: Collection[UUID]) -> None:
    """Forget everybody but ``users`` in both tables, as if their buckets had nobody else."""
    for table in ("seen", "staged"):
        others = text(f"DELETE FROM {table} WHERE id <> ALL (CAST(:users AS uuid[]))")  # noqa: S608 - a constant
        await connection.execute(others, {"users": list(users)})
    await connection.commit()


@dataclass(frozen=True, slots=True)
class StagedFigures:
    """How many users the source sent, and on how many pages they lie.

    ``is_mostly_new`` if the replica had fewer than half as many before.
    """

    rows: int
    pages: int
    is_mostly_new: bool


_FIGURES = text(
    "SELECT count(*) AS rows,"
    " pg_relation_size('pg_temp.staged') / current_setting('block_size')::bigint AS pages,"
    " 2 * (SELECT count(*) FROM seen) < count(*) AS is_mostly_new"
    " FROM staged"
)


async def staged_figures(connection: AsyncConnection) -> StagedFigures:
    """The figures of what was staged."""
    row = (await connection.execute(_FIGURES)).one()
    await connection.commit()
    return StagedFigures(rows=row.rows, pages=row.pages, is_mostly_new=row.is_mostly_new)


async def _rows(stream: UserStream, progress: RunProgress) -> AsyncIterator[bytes]:
    """The users in PostgreSQL's text format for COPY."""
    async for lines in stream.blocks():
        try:
            block = _in_text_format([_row(orjson.loads(line)) for line in lines])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _not_as_agreed(error) from None
        yield block.encode()
        progress.advance(len(lines))


def _in_text_format(rows: Sequence[Sequence[str]]) -> str:
    """Write rows for COPY. Hardly any value has to be escaped, so all are looked at together."""
    block = "\n".join(["\t".join(row) for row in rows] + [""])
    separators = block.count("\n"), block.count("\t")
    if "\\" in block or "\r" in block or separators != (len(rows), len(rows) * (len(_COPIED) - 1)):
        escaped = ("\t".join([value.translate(_ESCAPES) for value in row]) for row in rows)
        block = "\n".join([*escaped, ""])
    return block


def _row(user: dict[str, Any]) -> Sequence[str]:
    """One user's values; PostgreSQL reads them as strictly as the columns say."""
    unpublished = _BOOLEAN[user.get("unpublished", False)]
    if "deleted_at" in user:
        return (
            *(user["id"], str(user["version"]), "", "f", "{}", "deleted", "", "", ""),
            *(user["deleted_at"], unpublished),
        )
    _demand_checked(user)
    return (
        user["id"],
        str(user["version"]),
        user["email"],
        _BOOLEAN[user["email_verified"]],
        _roles(user["roles"]),
        user["status"],
        user["tokens_valid_after"] or "",
        user["created_at"],
        user["updated_at"],
        "",
        unpublished,
    )


def _demand_checked(user: dict[str, Any]) -> None:
    """Refuse what the table's checks would refuse, for PostgreSQL's log would then hold the row.

    Raises:
        ValueError: the source's response holds what no event may hold; nothing of it is repeated.
    """
    email, version = user["email"], user["version"]
    since = user["tokens_valid_after"]
    if (
        not EMAIL_LENGTH_MIN <= len(email) <= EMAIL_LENGTH_MAX
        or "\0" in email
        or type(version) is not int
        or not 1 <= version <= VERSION_MAX
        or user["status"] not in _LIVING
        or len(user["roles"]) > ROLES_MAX
        # "infinity" is no time.
        or not user["created_at"][:1].isdigit()
        or not user["updated_at"][:1].isdigit()
        or not (since is None or since[:1].isdigit())
    ):
        raise ValueError


def _roles(roles: object) -> str:
    """PostgreSQL's text form of an array of texts, and of nothing else."""
    if not roles and isinstance(roles, list):
        return "{}"  # as almost everybody's
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise TypeError
    return array_literal(roles)


_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _not_as_agreed(error: Exception) -> CouldNotCompare:
    """The kind of error alone: its text may quote a user's data."""
    return CouldNotCompare(f"the source's response is not as agreed ({type(error).__name__})")
