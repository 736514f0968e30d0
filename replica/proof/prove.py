"""Make one proof: compare digests, and then the users of buckets that stay different.

Guarantees: in flight is not drift, and there is no verdict without proof, by the rules of
``reconcile.compare``. What is missing, stale or undeleted is repaired; the rest is reported. Before
users are read, everything published by then has arrived, so a long queue costs no such reading.
"""

from dataclasses import dataclass
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.digest import DigestKind
from replica.proof.model import Proved, named
from replica.proof.narrow import Side, look_again, narrow
from replica.reconcile.compare import compare_buckets, require_followed, wait_for
from replica.reconcile.model import BY_ITSELF, DELETIONS_MAX, Comparison, Tally, by_kind
from replica.reconcile.progress import RunProgress
from replica.reconcile.session import session
from replica.reconcile.source import Source
from replica.reconcile.staging import replica_digests
from replica.settings import ReconcileSettings
from replica.table import Replica


@dataclass(frozen=True, slots=True)
class Proof:
    """A verdict.

    Parameters:
        proved: what is known now.
        tally: what differed, and what was repaired.
        comparison: of the users who were read; None if the digests were enough.
        covered: the last heartbeat that is known to have been applied.
    """

    proved: Proved
    tally: Tally
    comparison: Comparison | None
    covered: int


async def prove(
    replica: Replica,
    settings: ReconcileSettings,
    connection: AsyncConnection,
    source: Source,
    *,
    follows: UUID,
    heartbeat: int,
) -> Proof:
    """Compare the replica with its source.

    Parameters:
        connection: of the replica's database, outside any transaction.
        source: to ask.
        follows: the source that this replica was compared with before.
        heartbeat: the last one that was applied.

    Raises:
        CouldNotCompare: there is no verdict.
        DBAPIError, OSError: the replica's database is away.
    """
    require = partial(
        require_followed, replica.command, settings.variable("auth_url"), follows=follows
    )
    kind = DigestKind.STATE if replica.has_all_fields else DigestKind.VERSIONS
    read = partial(replica_digests, replica, connection)
    sides = Side(read, source, kind, follows, require)
    narrowed = await narrow(sides)
    buckets, covered = narrowed.buckets, heartbeat
    if buckets:
        beat = await source.heartbeat()
        require(beat.source)
        await wait_for(beat, connection, settings.reconcile_wait_seconds, command=replica.command)
        covered = beat.number
        buckets = await look_again(sides, buckets)
    tally, comparison = Tally(), None
    if buckets:
        async with session(settings) as first:
            compared = await compare_buckets(
                replica,
                settings,
                source,
                first,
                buckets,
                require_source=require,
                expected=None,
                repairs=BY_ITSELF,
                deletions_max=DELETIONS_MAX,
                tally=tally,
                progress=RunProgress(is_quiet=True),
            )
        covered = compared.heartbeat
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
    return Proof(proved, tally, comparison, covered)
