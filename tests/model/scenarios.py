"""Name the scenarios that are explored, and the readings that are known to be unsound."""

from dataclasses import dataclass
from typing import Final

from tests.model.rules import Fault, Rules, Scenario
from tests.model.state import Left

_ALL: Final = frozenset(Fault)

CALM: Final = Scenario("no fault", Left(changes=2, beats=1, faults=0, comparisons=1), frozenset())

_ONE_FAULT: Final = Left(changes=2, beats=0, faults=1, comparisons=1)

QUICK: Final = (
    CALM,
    Scenario(
        "faults of relay and consumer",
        _ONE_FAULT,
        frozenset({Fault.RELAY_CRASH, Fault.REFUSAL, Fault.THAW, Fault.REDELIVERY}),
    ),
    Scenario(
        "parked and replayed messages",
        Left(changes=3, beats=0, faults=2, comparisons=0),
        frozenset({Fault.PARKING, Fault.REPLAY, Fault.THAW}),
    ),
    Scenario(
        "messages parked or replayed during a comparison",
        _ONE_FAULT,
        frozenset({Fault.PARKING, Fault.REPLAY}),
    ),
    Scenario(
        "a purge, and tokens before events", _ONE_FAULT, frozenset({Fault.PURGE, Fault.PROVISION})
    ),
    Scenario(
        "urgent events",
        Left(changes=3, beats=0, faults=1, comparisons=0),
        frozenset({Fault.RELAY_CRASH, Fault.REFUSAL}),
        has_urgent=True,
        has_urgent_queue=True,
    ),
    Scenario(
        "urgent events during a comparison",
        Left(changes=2, beats=0, faults=0, comparisons=1),
        frozenset(),
        has_urgent=True,
        has_urgent_queue=True,
    ),
    Scenario("a failover of the replica", _ONE_FAULT, frozenset({Fault.REPLICA_FAILOVER})),
    Scenario("a failover of the source", _ONE_FAULT, frozenset({Fault.SOURCE_FAILOVER})),
    Scenario(
        "a failover of the source that loses a heartbeat",
        Left(changes=1, beats=1, faults=1, comparisons=1),
        frozenset({Fault.SOURCE_FAILOVER}),
    ),
    Scenario("damage by hand", _ONE_FAULT, frozenset({Fault.DAMAGE}), asks_operator=True),
    Scenario("damage past the triggers", _ONE_FAULT, frozenset({Fault.SILENT_DAMAGE})),
    Scenario(
        "two users",
        _ONE_FAULT,
        frozenset({Fault.PURGE, Fault.OVERTAKING, Fault.REDELIVERY}),
        users=2,
    ),
)
"""Explored completely, in some seconds."""

DEEP: Final = (
    Scenario(
        "pairs of faults of relay and consumer",
        Left(changes=2, beats=1, faults=2, comparisons=1),
        _ALL - {Fault.SOURCE_FAILOVER, Fault.REPLICA_FAILOVER, Fault.DAMAGE},
    ),
    Scenario(
        "failovers of both databases",
        Left(changes=2, beats=1, faults=2, comparisons=1),
        frozenset({Fault.SOURCE_FAILOVER, Fault.REPLICA_FAILOVER, Fault.PARKING}),
        asks_operator=True,
    ),
    Scenario(
        "two users and every fault",
        Left(changes=3, beats=1, faults=2, comparisons=1),
        _ALL,
        users=2,
        asks_operator=True,
    ),
)
"""Explored as far as a minute allows."""

EVERYTHING: Final = Scenario(
    "everything",
    Left(changes=5, beats=3, faults=4, comparisons=3),
    _ALL,
    users=2,
    asks_operator=True,
    has_urgent=True,
    has_urgent_queue=True,
)
"""Far too large for an exhaustive search: explored at random."""


@dataclass(frozen=True)
class Reading:
    """A way to build the system that is unsound, and what the explorer finds about it."""

    rules: Rules
    scenario: Scenario
    finding: str


def _reading(
    finding: str,
    rules: Rules,
    *faults: Fault,
    budget: int = 1,
    changes: int = 2,
    comparisons: int = 1,
    beats: int = 0,
    asks_operator: bool = False,
) -> Reading:
    left = Left(
        changes=changes, beats=beats, faults=budget if faults else 0, comparisons=comparisons
    )
    scenario = Scenario("unsound", left, frozenset(faults), asks_operator=asks_operator)
    return Reading(rules, scenario, finding)


_OLDER: Final = "a message took Ada back to an older state"
_UNDONE: Final = "a repair undid Ada's state, which is the source's"
_MISSING: Final = "nothing is lost, and the comparison calls Ada missing"
_UNSEEN: Final = "the verdict is in step, and Ada differs"

UNSOUND: Final = {
    "apply by position instead of version": _reading(
        _OLDER, Rules(by_position=True), Fault.PARKING, budget=2
    ),
    "repair without the guard newer": _reading(
        _UNDONE, Rules(repairs_without_newer=True), Fault.PURGE
    ),
    "repair without the guard as compared": _reading(
        _UNDONE, Rules(repairs_without_as_compared=True), Fault.DAMAGE, asks_operator=True
    ),
    "delete the row instead of keeping a tombstone": _reading(
        "Ada, whose deletion was applied, is alive in the replica again",
        Rules(without_tombstones=True),
        Fault.THAW,
        comparisons=0,
    ),
    "mark as published before the confirm": _reading(
        "a committed change of Ada is lost: nothing brings it to the replica",
        Rules(marks_before_confirm=True),
        Fault.RELAY_CRASH,
    ),
    "all events of a user unconfirmed at once": _reading(
        "two events of one user are unconfirmed at the same time", Rules(sends_all_at_once=True)
    ),
    "redrive without the merge": _reading(
        _OLDER, Rules(redrives_without_merge=True), Fault.PARKING
    ),
    "a verdict without waiting for a heartbeat": _reading(_MISSING, Rules(without_heartbeat=True)),
    "a heartbeat requested before the source is read": _reading(
        _MISSING, Rules(heartbeat_first=True)
    ),
    "a heartbeat known by its number alone": _reading(
        _MISSING, Rules(heartbeat_by_number=True), Fault.SOURCE_FAILOVER, changes=1, beats=1
    ),
    "a comparison that ignores unpublished events": _reading(
        "nothing is lost, and the comparison calls Ada stale", Rules(ignores_unpublished=True)
    ),
    "the source read before the replica": _reading(
        "the source was never set back, and the comparison calls Ada orphan",
        Rules(source_first=True),
    ),
    "digests read without the changes that are not folded": _reading(
        _UNSEEN, Rules(reads_folded_only=True)
    ),
    "tombstones counted that the source does not know": _reading(
        "both sides agree, and their digests differ for good",
        Rules(forgets_orphans=True),
        Fault.SOURCE_FAILOVER,
        comparisons=0,
    ),
    "digests by XOR, with a change that counts twice": _reading(
        _UNSEEN, Rules(digests_by_xor=True, counts_twice=True), Fault.DAMAGE
    ),
}
"""By name; each is a decision of the product turned round."""
