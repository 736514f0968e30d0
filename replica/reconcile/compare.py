"""Compare the replica with its source, and repair what is asked for.

Digests come first: if all agree, that is the proof, and some hundred kilobytes were read. They are
the maintained ones, or computed from all users if asked for, which checks the maintained ones.
Otherwise only the users of differing buckets are read and classified (``classify_and_repair``,
``orphans``). If some users alone are to be compared, their buckets are read, and the others of
these buckets are dropped before anything is classified.
A replica without all fields is compared by digests of versions, and by id, version and deletion.
What its columns contain is not proved then.

Guarantees: the replica is read before the source. A verdict needs the whole response of the one
source that this replica follows, and a heartbeat that was recorded after everything that the
response calls published, and that was applied here: what still differs then is no event in flight.
Otherwise ``CouldNotCompare`` is raised, never "in step".
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.comparison import DigestsBody, HeartbeatBody, StreamBegin, bucket_ranges
from contracts.sync.digest import BUCKETS, DigestKind, Digests, bucket_of
from replica.inbox.heartbeats import has_applied
from replica.reconcile.classify_and_repair import BATCH_PAGES, classify_and_repair
from replica.reconcile.fill import FILL_PAGES, fill
from replica.reconcile.model import Comparison, CouldNotCompare, EveryFinding, Kind, Phase, Tally
from replica.reconcile.orphan_tombstones import account_for_tombstones
from replica.reconcile.orphans import repair_orphans
from replica.reconcile.progress import RunProgress
from replica.reconcile.session import session
from replica.reconcile.source import Source, digests_as_agreed
from replica.reconcile.staging import (
    StagedFigures,
    checked_digests,
    drop_others,
    replica_digests,
    snapshot_replica,
    stage,
    staged_figures,
)
from replica.settings import ReconcileSettings
from replica.table import Replica
from service_kit.process.tasks import all_of

LANE_BUCKETS_MIN: Final = 256
"""So many differing buckets are worked off in two lanes at once, each with a session of its own:
databases that have two cores use them, in others the lanes take turns."""

LOOK_EVERY_SECONDS: Final = 0.02
"""A heartbeat takes some milliseconds from the source to here."""


async def compare(
    replica: Replica,
    settings: ReconcileSettings,
    *,
    follows: UUID | None,
    accepts: UUID | None = None,
    repairs: frozenset[Kind],
    deletions_max: int,
    recompute: bool,
    progress: RunProgress,
    every: EveryFinding | None = None,
    users: Collection[UUID] | None = None,
) -> Comparison:
    """What differs, after the repairs.

    Parameters:
        follows: the source that this replica was compared with before; None for the first time.
        accepts: the source to follow from now on, which has to be the one that answers.
        repairs: the kinds to repair.
        deletions_max: how many orphans may be buried, all of them or none.
        recompute: compute the digests of both sides from all users, and check the maintained ones;
            otherwise those are compared.
        progress: is told how far it has come.
        every: is told of every user of some kinds.
        users: the only ones to compare and to repair; None for all. Digests are not read then.

    Raises:
        CouldNotCompare: there is no verdict.
    """
    require_source = partial(
        require_followed, replica.command, settings.variable("auth_url"), accepts=accepts
    )
    kind = DigestKind.STATE if replica.has_all_fields else DigestKind.VERSIONS
    async with Source(settings) as source, session(settings) as first:
        tally = Tally(every)
        if users is not None:
            found = await compare_buckets(
                replica,
                settings,
                source,
                first,
                sorted({bucket_of(user_id) for user_id in users}),
                require_source=partial(require_source, follows=follows),
                expected=None,
                repairs=repairs,
                deletions_max=deletions_max,
                tally=tally,
                progress=progress,
                only=users,
            )
            return _comparison(found.begin, found.users, tally, (), found.brake)
        corrections = []
        if recompute:
            ours, correction = await checked_digests(replica, first)
            corrections += [] if correction is None else [f"here, {correction}"]
        else:
            ours = await replica_digests(first, kind)
        theirs: Digests | None = None
        differing: Sequence[int] = range(BUCKETS)
        if ours.rows:  # everything of an empty replica differs
            response = await source.digests(kind, recompute=recompute)
            require_source(response.source, follows)
            follows = response.source
            theirs = _read(response)
            if response.corrected:
                corrections.append(
                    f"at the source, {response.corrected:,} of the maintained digests were wrong"
                    " and have been corrected; its log names the cause"
                )
            differing = theirs.differing(ours, kind)
            if not differing:
                return _comparison(response, theirs.rows, tally, corrections)
        found = await compare_buckets(
            replica,
            settings,
            source,
            first,
            differing,
            require_source=partial(require_source, follows=follows),
            expected=_expected(theirs, differing),
            repairs=repairs,
            deletions_max=deletions_max,
            tally=tally,
            progress=progress,
        )
        rows = theirs.rows if theirs else found.users
        return _comparison(found.begin, rows, tally, corrections, found.brake)


@dataclass(frozen=True, slots=True)
class ComparedBuckets:
    """How the source's response about some buckets began, and how many users it had.

    ``heartbeat`` is the number of the one that arrived after it. ``brake`` says why orphans were
    left although asked for; None if they were not left.
    """

    begin: StreamBegin
    users: int
    heartbeat: int
    brake: str | None


async def compare_buckets(
    replica: Replica,
    settings: ReconcileSettings,
    source: Source,
    first: AsyncConnection,
    buckets: Sequence[int],
    *,
    require_source: Callable[[UUID], None],
    expected: int | None,
    repairs: frozenset[Kind],
    deletions_max: int,
    tally: Tally,
    progress: RunProgress,
    only: Collection[UUID] | None = None,
) -> ComparedBuckets:
    """Compare the users of some buckets, and repair what is asked for.

    Parameters:
        source: to ask.
        first: a session of this comparison (``session``); many buckets get another one.
        buckets: in ascending order.
        require_source: raises ``CouldNotCompare`` for another source than the one to compare with.
        expected: about how many users the source has in these buckets; None: nobody knows.
        repairs: the kinds to repair.
        deletions_max: how many orphans may be buried, all of them or none.
        tally: gets what was found and done.
        progress: is told how far it has come.
        only: users of these buckets, to look at no others; None for all.

    Raises:
        CouldNotCompare: there is no verdict.
    """
    parts = [bucket_ranges(part) for part in _parts(buckets)]
    async with AsyncExitStack() as sessions:
        more = [await sessions.enter_async_context(session(settings)) for _ in parts[1:]]
        lanes = [first, *more]
        progress.begin(Phase.READING, expected)
        begins = await all_of(
            *(
                _stage(replica, source, lane, ranges, progress, only)
                for lane, ranges in zip(lanes, parts, strict=True)
            )
        )
        for begin in begins:
            require_source(begin.source)
        heartbeat = await source.heartbeat()
        if {heartbeat.source, *(begin.source for begin in begins)} != {begins[0].source}:
            raise CouldNotCompare("another source answered during the comparison; try again")
        progress.begin(Phase.ARRIVING)
        await wait_for(heartbeat, first, settings.reconcile_wait_seconds, command=replica.command)
        held = await repair_orphans(replica, lanes, repairs, deletions_max, tally)
        staged = [await staged_figures(lane) for lane in lanes]
        rows = sum(each.rows for each in staged)
        progress.begin(Phase.COMPARING, rows)
        await all_of(*(account_for_tombstones(replica, lane) for lane in lanes))
        await all_of(
            *(
                _repair_lane(replica, lane, figures, repairs, tally, progress)
                for lane, figures in zip(lanes, staged, strict=True)
            )
        )
    return ComparedBuckets(begins[0], rows, heartbeat.number, held)


async def _stage(
    replica: Replica,
    source: Source,
    lane: AsyncConnection,
    ranges: Sequence[range],
    progress: RunProgress,
    only: Collection[UUID] | None,
) -> StreamBegin:
    """What the replica has, and then what the source has; how its response begins."""
    await snapshot_replica(replica, lane, ranges)
    begin = await stage(lane, source, ranges, progress)
    if only is not None:
        await drop_others(lane, only)
    return begin


async def _repair_lane(
    replica: Replica,
    connection: AsyncConnection,
    staged: StagedFigures,
    repairs: frozenset[Kind],
    tally: Tally,
    progress: RunProgress,
) -> None:
    done = first = 0
    while first < staged.pages:
        # The report names some users of each kind, which only a classification finds out.
        fills = staged.is_mostly_new and Kind.MISSING in repairs and not tally.wants(Kind.MISSING)
        pages = FILL_PAGES if fills else BATCH_PAGES
        left = await fill(replica, connection, first, pages, tally) if fills else None
        if left is None or left:
            await classify_and_repair(replica, connection, first, pages, repairs, tally, left)
        first += pages
        # Pages hold about as many users each.
        so_far = staged.rows * min(first, staged.pages) // staged.pages
        progress.advance(so_far - done)
        done = so_far


def _comparison(
    response: DigestsBody | StreamBegin,
    users: int,
    tally: Tally,
    corrections: Sequence[str],
    held: str | None = None,
) -> Comparison:
    return Comparison(
        source=response.source,
        source_at=response.taken_at,
        users=users,
        tally=tally,
        brake=held,
        corrections=tuple(corrections),
    )


def _parts(differing: Sequence[int]) -> list[Sequence[int]]:
    """The buckets of each lane: one for a few of them, two halves of many."""
    if len(differing) < LANE_BUCKETS_MIN:
        return [differing]
    middle = len(differing) // 2
    return [differing[:middle], differing[middle:]]


def _expected(theirs: Digests | None, buckets: Sequence[int]) -> int | None:
    """About how many users lie in some buckets."""
    return None if theirs is None else theirs.rows * len(buckets) // BUCKETS


def require_followed(
    command: str, setting: str, source: UUID, follows: UUID | None, *, accepts: UUID | None = None
) -> None:
    """Refuse the response of another source than the one that this replica follows, or accepts.

    Parameters:
        command: the service's command, for the remedy.
        setting: the one that has the source's address, likewise.
    """
    if accepts is not None:
        if source != accepts:
            raise CouldNotCompare(
                f"--accept-source names {accepts}, but the source at {setting} is {source}:"
                " nothing was accepted or changed; name the one that answers if it is the right one"
            )
        return
    if follows is not None and source != follows:
        raise CouldNotCompare(
            f"the source that answers is {source}, and this replica follows {follows}: point"
            f" {setting} at the right one, or accept this one with"
            f" {command} reconcile --accept-source {source}"
        )


def _read(response: DigestsBody) -> Digests:
    with digests_as_agreed():
        return response.value()


async def wait_for(
    heartbeat: HeartbeatBody, connection: AsyncConnection, wait_seconds: float, *, command: str
) -> None:
    """Wait until the heartbeat, and with it everything before it, has been applied here."""
    deadline = time.monotonic() + wait_seconds
    while True:
        arrived = await has_applied(
            connection,
            issuer=heartbeat.issuer,
            number=heartbeat.number,
            recorded_at=heartbeat.recorded_at,
        )
        await connection.commit()
        if arrived:
            return
        if time.monotonic() >= deadline:
            raise CouldNotCompare(
                f"heartbeat {heartbeat.number} has not arrived in {wait_seconds:.0f} s, so nobody"
                " can tell what is on its way from what is lost: see whether the relay"
                f" (auth-service status) and the consumer ({command} status) work, or let the"
                " queue be worked off"
            )
        await asyncio.sleep(LOOK_EVERY_SECONDS)
