"""Define how the system works, and what may happen: the product, unsound readings, scenarios."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.model.state import Left, Past, Replica, Source, State, Users


@dataclass(frozen=True)
class Rules:
    """How the system works. The defaults are the product; each other value is unsound."""

    by_position: bool = False
    """A message is applied if its position is higher than that of the last one."""

    without_tombstones: bool = False
    """A deletion removes the row."""

    marks_before_confirm: bool = False
    """An event is marked as published before it is sent."""

    repairs_without_newer: bool = False
    """A repair writes what the source had, even over a newer state."""

    repairs_without_as_compared: bool = False
    """Likewise a repair of a corrupt or newer row, or of an orphan."""

    without_heartbeat: bool = False
    """A comparison does not wait for a heartbeat."""

    redrives_without_merge: bool = False
    """A redriven message is written without being compared."""

    heartbeat_by_number: bool = False
    """A comparison waits for the number of its heartbeat, and does not look at the time."""

    ignores_unpublished: bool = False
    """A comparison does not ask which events are not published yet."""

    heartbeat_first: bool = False
    """A comparison requests its heartbeat before it reads the source's rows."""

    source_first: bool = False
    """A comparison reads the source before the replica."""

    sends_all_at_once: bool = False
    """All events of a user may be unconfirmed at the same time."""

    reads_folded_only: bool = False
    """A digest is read without the changes that are not folded yet."""

    forgets_orphans: bool = False
    """A tombstone that the source does not know counts in the digest like any other."""

    digests_by_xor: bool = False
    """Digests of rows are combined by XOR, as they were before they were maintained."""

    counts_twice: bool = False
    """The replica's trigger exists twice: a change by hand counts twice in the digest."""


PRODUCT: Final = Rules()


class Fault(StrEnum):
    """What may go wrong, or is otherwise out of the ordinary."""

    RELAY_CRASH = "relay crash"
    REFUSAL = "refusal"
    THAW = "thaw"
    REDELIVERY = "redelivery"
    OVERTAKING = "overtaking"
    PARKING = "parking"
    REPLAY = "replay"
    PURGE = "purge"
    PROVISION = "provision"
    REPLICA_FAILOVER = "replica failover"
    SOURCE_FAILOVER = "source failover"
    DAMAGE = "damage"
    SILENT_DAMAGE = "damage past the triggers"


@dataclass(frozen=True)
class Scenario:
    """What may happen, and how often. Faults share one budget."""

    name: str
    left: Left
    faults: frozenset[Fault]
    users: int = 1
    asks_operator: bool = False
    """Whether an operator may compare, with all repairs, and run ``restored`` at any moment."""

    clock_stands: bool = False
    """Whether versions are the previous one + 1, as by a clock that was set back."""

    has_urgent: bool = False
    """Whether an event may be urgent: it overtakes its user's earlier ones at the relay."""

    has_urgent_queue: bool = False
    """Whether copies of urgent events come in a queue of their own, at any time."""

    any_batch: bool = False
    """Whether any number of messages may be applied at once, and any of them overtake. Exploring
    needs only one, or all, and only the next: the others lead to no other states of a user."""

    @property
    def keeps_log(self) -> bool:
        """Whether published events may be sent again."""
        return bool(self.faults & {Fault.THAW, Fault.REPLAY})


def initial(scenario: Scenario) -> State:
    nobody: Users = (None,) * scenario.users
    return State(
        source=Source(nobody),
        unconfirmed=(),
        queue=(),
        replays=(),
        replica=Replica(nobody, positions=(0,) * scenario.users),
        comparison=None,
        standby_source=None,
        standby_replica=None,
        past=Past(),
        left=scenario.left,
    )
