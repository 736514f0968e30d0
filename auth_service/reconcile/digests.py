"""Read the digests of all users: the maintained ones in milliseconds, or computed from the rows.

Replicas ask for the maintained ones with every heartbeat. So these take an ordinary connection for
a moment, and none of the few places for snapshots.

Guarantees: they are read from the primary, and their time is before their snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.reconcile.snapshot import Snapshots, about_primary
from contracts.sync.digest import DigestKind, Digests, PackedDigests
from service_kit.database.digests.read import read_digests, read_some_digests


@dataclass(frozen=True, slots=True)
class SourceDigests:
    """The digests of all users, and the source's identity and clock just before.

    ``corrected`` is how many maintained digests were wrong and have been corrected.
    """

    source: UUID
    taken_at: datetime
    digests: Digests
    corrected: int = 0


@dataclass(frozen=True, slots=True)
class SomeSourceDigests:
    """The digests of some buckets, likewise."""

    source: UUID
    taken_at: datetime
    digests: PackedDigests


async def maintained_digests(engine: AsyncEngine, kind: DigestKind) -> SourceDigests:
    """Read the maintained digests of one kind; ``engine`` needs no transactions.

    Raises:
        Problem: 503 if the database is a standby, which may lag.
    """
    async with engine.connect() as connection:
        about = await about_primary(connection)
        digests = await read_digests(connection, (kind,))
    return SourceDigests(about.identity, about.taken_at, digests)


async def some_maintained_digests(
    engine: AsyncEngine, kind: DigestKind, ranges: Sequence[range]
) -> SomeSourceDigests:
    """Read the maintained digests of the buckets in ``ranges``; raises likewise."""
    wanted = [bucket for part in ranges for bucket in part]
    async with engine.connect() as connection:
        about = await about_primary(connection)
        digests = await read_some_digests(connection, kind, wanted)
    return SomeSourceDigests(about.identity, about.taken_at, digests)


async def recomputed_digests(snapshots: Snapshots) -> SourceDigests:
    """Compute the digests from the rows, and correct maintained ones that are wrong.

    Raises:
        Problem: as ``Snapshots.take``.
    """
    async with snapshots.take() as snapshot:
        digests, wrong = await snapshot.check_digests()
    corrected = (await snapshots.correct_digests()).buckets if wrong else 0
    return SourceDigests(snapshot.source, snapshot.taken_at, digests, corrected)
