"""Compare the replica with its source, and repair what is asked for.

Digests first: when all agree, that is the proof, and some hundred kilobytes were read. Otherwise
only the users of differing buckets are looked at, and told apart (``step``, ``unknown``).

Guarantees: the replica is read before the source; a verdict needs the whole answer of the one
source that this replica follows, and a heartbeat that was recorded after all that the answer calls
published, and has been applied here: what still differs then is no event on its way. Otherwise
``CouldNotCompare`` is raised, never "in step".
"""

import asyncio
import time
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.inbox.heartbeats import has_applied
from blog_service.reconcile.model import Comparison, CouldNotCompare, Kind, Tally
from blog_service.reconcile.session import session
from blog_service.reconcile.source import Source
from blog_service.reconcile.staging import replica_digests, see, stage, staged_figures
from blog_service.reconcile.step import BATCH_PAGES, step
from blog_service.reconcile.unknown import unknown_there
from blog_service.settings import ReconcileSettings
from contracts.digest import BUCKETS, Digests
from contracts.progress import Progress
from contracts.reconcile import DigestsAnswer, HeartbeatAnswer, bucket_ranges, buckets_in

EVERYBODY: Final = bucket_ranges(range(BUCKETS))

LOOK_EVERY_SECONDS: Final = 0.02
"""A heartbeat takes some milliseconds from the source to here."""


async def compare(
    settings: ReconcileSettings,
    *,
    follows: UUID | None,
    repairs: frozenset[Kind],
    deletions_max: int,
) -> Comparison:
    """What differs, after the repairs.

    Parameters:
        follows: the source that this replica was compared with before; None for the first time.
        repairs: the kinds to repair.
        deletions_max: how many orphans may be buried, all of them or none.

    Raises:
        CouldNotCompare: there is no verdict.
    """
    async with Source(settings) as source, session(settings) as connection:
        ours = await replica_digests(connection)
        theirs: Digests | None = None
        ranges = EVERYBODY
        if ours.rows:  # of an empty replica it is known what differs
            answer = await source.digests()
            _demand(answer.source, follows)
            theirs = _read(answer)
            differing = theirs.differing(ours)
            if not differing:
                return Comparison(
                    source=answer.source,
                    source_at=answer.taken_at,
                    users=theirs.users,
                    tombstones=theirs.tombstones,
                    tally=Tally(),
                )
            ranges = bucket_ranges(differing)
        await see(connection, ranges)
        staging = Progress("users read", _expected(theirs, ranges))
        begin = await stage(connection, source, ranges, staging)
        staging.end()
        _demand(begin.source, follows if theirs is None else answer.source)
        await _arrived(connection, await source.heartbeat(), settings.reconcile_wait_seconds)
        tally = Tally()
        held = await unknown_there(connection, repairs, deletions_max, tally)
        staged = await staged_figures(connection)
        told = Progress("users compared", staged.users + staged.tombstones)
        for first in range(0, staged.pages, BATCH_PAGES):
            told.advance(await step(connection, first, BATCH_PAGES, repairs, tally))
        told.end()
        return Comparison(
            source=begin.source,
            source_at=begin.taken_at,
            users=staged.users if theirs is None else theirs.users,
            tombstones=staged.tombstones if theirs is None else theirs.tombstones,
            tally=tally,
            brake=held,
        )


def _expected(theirs: Digests | None, ranges: str) -> int | None:
    """About how many users lie in some buckets."""
    if theirs is None:
        return None
    return theirs.rows * sum(len(each) for each in buckets_in(ranges)) // BUCKETS


def _demand(source: UUID, follows: UUID | None) -> None:
    """Refuse the answer of another source than the one that this replica follows."""
    if follows is not None and source != follows:
        raise CouldNotCompare(
            f"the source that answers is {source}, and this replica follows {follows}: point"
            f" BLOG_AUTH_URL at the right one, or accept it with --accept-source {source}"
        )


def _read(answer: DigestsAnswer) -> Digests:
    try:
        return answer.value()
    except ValueError:
        raise CouldNotCompare("the source's digests are not as agreed") from None


async def _arrived(
    connection: AsyncConnection, heartbeat: HeartbeatAnswer, wait_seconds: float
) -> None:
    """Wait until the heartbeat has been applied here, and with it all that went before it."""
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
                " (auth-service status) and the consumer (blog-service status) work, or let the"
                " queue be worked off"
            )
        await asyncio.sleep(LOOK_EVERY_SECONDS)
