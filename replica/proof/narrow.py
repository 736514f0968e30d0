"""Find the buckets that differ for longer than an event is on its way.

Under traffic the roots of both sides nearly always differ: some events are on their way. So the
digests of differing buckets are looked at again, a few times within a moment. A bucket that is
found equal once is proved: all its users were equal then. What is left has lost something, changes
all the time, or waits behind a long queue.

Guarantees: in each look, this side is read before the source. The first look costs one request and,
if the roots are equal, a response without a body; otherwise the response has the digests of groups
of buckets. Each further look costs 22 bytes for each bucket in question.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from contracts.sync.comparison import DigestsBody, bucket_ranges, entity_tag
from contracts.sync.digest import (
    BUCKETS,
    GROUPS,
    DigestKind,
    Digests,
    PackedDigests,
    difference,
    each_digest,
)
from replica.reconcile.source import Source, digests_as_agreed

PAUSES_SECONDS: Final = (0.02, 0.05, 0.1)
"""Before each further look at single buckets. An event takes some milliseconds from the source."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What one look compares: this side's digests, and the source that has to respond.

    Parameters:
        read: reads this side's digests, of one snapshot.
        read_some: reads those of some buckets, ascending, likewise.
        source: where to ask.
        kind: of digests.
        follows: the source that this replica follows.
        require: raises ``CouldNotCompare`` for another source.
    """

    read: Callable[[], Awaitable[Digests]]
    read_some: Callable[[Sequence[int]], Awaitable[PackedDigests]]
    source: Source
    kind: DigestKind
    follows: UUID
    require: Callable[[UUID], None]


@dataclass(frozen=True, slots=True)
class Narrowed:
    """How many users the source has, and the buckets that still differed at the last look.

    ``buckets`` has the ``difference`` of both digests for each bucket.
    """

    users: int
    tombstones: int
    buckets: Mapping[int, bytes]


async def narrow(sides: Sides, *, known: Mapping[int, bytes]) -> Narrowed:
    """Look until no bucket differs, or a few times.

    Parameters:
        sides: what to compare.
        known: differences that an earlier proof left; nothing else may differ.

    Raises:
        CouldNotCompare: the source is away, is another one, or its response is not as agreed.
    """
    ours = await sides.read()
    tag = entity_tag(sides.follows, sides.kind, ours)
    response = await sides.source.groups_unless(sides.kind, tag)
    if response is None:
        return Narrowed(ours.users, ours.tombstones, {})
    sides.require(response.source)
    differing = await look_again(sides, _buckets_of_differing_groups(ours, response, sides.kind))
    for pause in PAUSES_SECONDS:
        if not differing or differing == known:
            break
        await asyncio.sleep(pause)
        differing = await look_again(sides, differing)
    return Narrowed(response.users, response.tombstones, differing)


async def look_again(sides: Sides, buckets: Collection[int]) -> Mapping[int, bytes]:
    """Return those of ``buckets`` that differ now, and how; raises as ``narrow`` does."""
    if not buckets:
        return {}
    ours = await sides.read_some(sorted(buckets))
    ranges = bucket_ranges(sorted(buckets))
    response = await sides.source.digests(sides.kind, ranges)
    sides.require(response.source)
    with digests_as_agreed():
        theirs = response.by_bucket(ranges)
    pairs = zip(sorted(buckets), each_digest(ours.packed), strict=True)
    return {
        bucket: difference(one, theirs[bucket]) for bucket, one in pairs if one != theirs[bucket]
    }


def _buckets_of_differing_groups(
    ours: Digests, response: DigestsBody, kind: DigestKind
) -> Sequence[int]:
    size = BUCKETS // GROUPS
    with digests_as_agreed():
        theirs = response.by_group()
    pairs = zip(each_digest(ours.groups(kind).packed), theirs, strict=True)
    return [
        bucket
        for group, (one, other) in enumerate(pairs)
        if one != other
        for bucket in range(group * size, (group + 1) * size)
    ]
