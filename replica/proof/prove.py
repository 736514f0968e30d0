"""Make one proof: compare digests, and then the users of buckets that stay different.

Guarantees: in flight is not drift, and there is no verdict without proof, by the rules of
``reconcile.compare``. What is missing, stale or undeleted is repaired; the rest is reported. Before
users are read, everything published by then has arrived, so a long queue costs no such reading.
Under traffic other events are on their way by then, to a few of the same buckets: while the number
of buckets in question halves with each heartbeat, it waits for another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.digest import DigestKind
from replica.proof.model import Proved, named
from replica.proof.narrow import Sides, look_again, narrow
from replica.reconcile.compare import compare_buckets, require_followed, wait_for
from replica.reconcile.model import BY_ITSELF, DELETIONS_MAX, Comparison, Tally, by_kind
from replica.reconcile.progress import RunProgress
from replica.reconcile.session import session
from replica.reconcile.source import Source
from replica.reconcile.staging import replica_digests, some_replica_digests
from replica.settings import ReconcileSettings
from replica.table import Replica

READ_AT_ONCE_MAX: Final = 16
"""Buckets whose users are read without waiting for another heartbeat. With events that take long,
more of them differ because of later events, and each heartbeat halves their number at least."""


@dataclass(frozen=True, slots=True)
class Known:
    """The differences of buckets, and what a proof found in them.

    While the differences stay the same, so do the users who differ.
    """

    differences: Mapping[int, bytes]
    proved: Proved


@dataclass(frozen=True, slots=True)
class Proof:
    """A verdict.

    Parameters:
        proved: what is known now.
        tally: what differed, and what was repaired.
        comparison: of the users who were read; None if the digests were enough.
        covered: the last heartbeat that is known to have been applied.
        known: the differences that are left, for the next proof; None if they may still change.
        has_wrong_digests: the digests of some buckets differ steadily, and their users do not.
    """

    proved: Proved
    tally: Tally
    comparison: Comparison | None
    covered: int
    known: Known | None
    has_wrong_digests: bool = False


async def prove(
    replica: Replica,
    settings: ReconcileSettings,
    connection: AsyncConnection,
    source: Source,
    *,
    follows: UUID,
    heartbeat: int,
    known: Known | None = None,
) -> Proof:
    """Compare the replica with its source.

    Parameters:
        connection: of the replica's database, outside any transaction.
        source: to ask.
        follows: the source that this replica was compared with before.
        heartbeat: the last one that was applied.
        known: what an earlier proof left.

    Raises:
        CouldNotCompare: there is no verdict.
        DBAPIError, OSError: the replica's database is away.
    """
    require = partial(
        require_followed, replica.command, settings.variable("auth_url"), follows=follows
    )
    kind = DigestKind.STATE if replica.has_all_fields else DigestKind.VERSIONS
    read = partial(replica_digests, connection, kind)
    read_some = partial(some_replica_digests, connection, kind)
    sides = Sides(read, read_some, source, kind, follows, require)
    narrowed = await narrow(sides, known={} if known is None else known.differences)
    buckets, covered = narrowed.buckets, heartbeat
    if known is not None and buckets == known.differences:
        proved = replace(
            known.proved,
            heartbeat=heartbeat,
            users=narrowed.users,
            tombstones=narrowed.tombstones,
        )
        return Proof(proved, Tally(), None, heartbeat, known)
    may_shrink = bool(buckets)
    while may_shrink:
        beat = await source.heartbeat()
        require(beat.source)
        await wait_for(beat, connection, settings.reconcile_wait_seconds, command=replica.command)
        covered = beat.number
        left = await look_again(sides, buckets)
        may_shrink = READ_AT_ONCE_MAX < len(left) <= len(buckets) / 2
        buckets = left
    tally, comparison = Tally(), None
    after: Mapping[int, bytes] = {}
    if buckets:
        async with session(settings) as first:
            compared = await compare_buckets(
                replica,
                settings,
                source,
                first,
                sorted(buckets),
                require_source=require,
                expected=None,
                repairs=BY_ITSELF,
                deletions_max=DELETIONS_MAX,
                tally=tally,
                progress=RunProgress(is_quiet=True),
            )
        covered = compared.heartbeat
        after = await look_again(sides, buckets)
        comparison = Comparison(
            source=compared.begin.source,
            source_at=compared.begin.taken_at,
            users=narrowed.users + narrowed.tombstones,
            tally=tally,
        )
    proved = Proved(
        source=follows,
        heartbeat=covered,
        users=narrowed.users,
        tombstones=narrowed.tombstones,
        in_flight=tally.in_flight,
        differing=by_kind(tally.left),
        findings=named(tally),
        run_id=None,
    )
    is_steady = bool(after) and after == buckets and not (tally.repaired or tally.in_flight)
    return Proof(
        proved,
        tally,
        comparison,
        covered,
        known=Known(after, proved) if is_steady and proved.differing else None,
        has_wrong_digests=is_steady and not proved.differing,
    )
