"""Name the scenarios that are explored, and the readings that are known to be unsound."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tests.model.rules import Fault, Rules, Scenario
from tests.model.state import Left

_ALL: Final = frozenset(Fault)


def _scenario(
    name: str,
    faults: Iterable[Fault] = (),
    *,
    changes: int = 2,
    beats: int = 0,
    budget: int = 1,
    comparisons: int = 1,
    **how: Any,
) -> Scenario:
    """Return a scenario with these numbers; ``budget`` is how many of the faults may happen."""
    faults = frozenset(faults)
    left = Left(
        changes=changes, beats=beats, faults=budget if faults else 0, comparisons=comparisons
    )
    return Scenario(name, left, faults, **how)


CALM: Final = _scenario("no fault", beats=1)

_OF_BOTH_ENDS: Final = (Fault.RELAY_CRASH, Fault.REFUSAL, Fault.THAW, Fault.REDELIVERY)
_REFUSED: Final = (Fault.RELAY_CRASH, Fault.REFUSAL)
_FAILOVERS: Final = (Fault.SOURCE_FAILOVER, Fault.REPLICA_FAILOVER)
_URGENT: Final[dict[str, Any]] = {"has_urgent": True, "has_urgent_queue": True}
_AGAIN: Final = (Fault.PARKING, Fault.REPLAY)
_REORDERED: Final = (Fault.PURGE, Fault.OVERTAKING, Fault.REDELIVERY)
_SOURCE: Final = (Fault.SOURCE_FAILOVER,)
"""Faults of several scenarios."""

QUICK: Final = (
    CALM,
    _scenario("faults of relay and consumer", _OF_BOTH_ENDS),
    _scenario(
        "parked and replayed messages", (*_AGAIN, Fault.THAW), changes=3, budget=2, comparisons=0
    ),
    _scenario("messages parked or replayed during a comparison", _AGAIN),
    _scenario("a purge, and tokens before events", (Fault.PURGE, Fault.PROVISION)),
    _scenario("urgent events", _REFUSED, changes=3, comparisons=0, **_URGENT),
    _scenario("urgent events during a comparison", **_URGENT),
    _scenario("a failover of the replica", (Fault.REPLICA_FAILOVER,)),
    _scenario("a failover of the source", _SOURCE),
    _scenario("a failover of the source that loses a heartbeat", _SOURCE, changes=1, beats=1),
    _scenario("damage by hand", (Fault.DAMAGE,), asks_operator=True),
    _scenario("damage past the triggers", (Fault.SILENT_DAMAGE,)),
    _scenario("two users", _REORDERED, users=2),
)
"""Explored completely, in some seconds."""

_PAIRS: Final[dict[str, Any]] = {"beats": 1, "budget": 2}

DEEP: Final = (
    _scenario(
        "pairs of faults of relay and consumer", _ALL - {*_FAILOVERS, Fault.DAMAGE}, **_PAIRS
    ),
    _scenario(
        "failovers of both databases", (*_FAILOVERS, Fault.PARKING), asks_operator=True, **_PAIRS
    ),
    _scenario("two users and every fault", _ALL, changes=3, users=2, asks_operator=True, **_PAIRS),
)
"""Explored as far as a minute allows."""

_MANY: Final = {"changes": 5, "beats": 3, "budget": 4, "comparisons": 3}

EVERYTHING: Final = _scenario("everything", _ALL, **_MANY, **_URGENT, users=2, asks_operator=True)
"""Far too large for an exhaustive search: explored at random."""


@dataclass(frozen=True)
class Reading:
    """A way to build the system that is unsound, and what the explorer finds about it."""

    rules: Rules
    scenario: Scenario
    finding: str


def _reading(finding: str, rules: Rules, *faults: Fault, **how: Any) -> Reading:
    return Reading(rules, _scenario("unsound", faults, **how), finding)


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
