"""Define the state of the modelled system: immutable, hashable, and as small as possible."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from replica.inbox.heartbeat_numbers import Last, SuspicionKind
from replica.reconcile.kinds import Difference
from replica.reconcile.model import Reason


class Record(NamedTuple):
    """A user's state: its version, and a number that stands for all other fields.

    The number is the source's count of changes when it wrote the state: negative for a tombstone,
    so that two tombstones differ too. A provisional row has version 0 and content 0.
    """

    version: int
    content: int

    @property
    def is_deleted(self) -> bool:
        return self.content < 0


PROVISIONAL: Final = Record(0, 0)

BURIED: Final = -1_000
"""Content of a tombstone that the replica made for an orphan; with a version it is unique."""

DAMAGED: Final = 1_000
"""Content of a row that was changed by hand."""

BEAT: Final = -1
"""In the place of a user: a heartbeat, with its number as version and its time as content."""

Users: TypeAlias = tuple[Record | None, ...]


class Entry(NamedTuple):
    """A row of the source's outbox."""

    position: int
    user: int
    record: Record
    is_published: bool = False
    is_erased: bool = False


class Message(NamedTuple):
    """A message at the broker, or parked. Its record is None once its body was erased."""

    user: int
    record: Record | None
    position: int = 0


class Source(NamedTuple):
    """The source's database. ``folded`` is used by an unsound reading alone."""

    users: Users
    log: tuple[Entry, ...] = ()
    beat: int = 0
    position: int = 0
    folded: Users = ()


class Replica(NamedTuple):
    """The replica's database.

    ``digest`` is the maintained one; the tombstones in ``uncounted``, each a user and a version, do
    not count in it, because the source does not know them. ``undone`` are the users that the last
    comparison named as undone deletions. ``buried`` remembers whose deletion was applied here, for
    the invariants.
    ``positions`` and ``folded`` are used by unsound readings alone.
    """

    users: Users
    digest: int = 0
    uncounted: frozenset[tuple[int, int]] = frozenset()
    parked: tuple[Message, ...] = ()
    last: Last | None = None
    undone: frozenset[int] = frozenset()
    buried: frozenset[int] = frozenset()
    positions: tuple[int, ...] = ()
    folded: Users = ()


class Phase(StrEnum):
    """How far a comparison is."""

    LOOKED = "looked"
    """The replica's digests were read."""

    SEEN = "seen"
    """The source's differ, so the replica's rows were read."""

    STAGED = "staged"
    """The source's rows were read, and a heartbeat was requested."""

    CLASSIFIED = "classified"
    """The heartbeat was applied, and each user's kind was decided."""


class Comparison(NamedTuple):
    """A comparison under way. ``is_whole``: it computes digests from all rows.

    ``is_disturbed``: something was lost or damaged since it began, which only the next one must
    find.
    """

    reason: Reason
    phase: Phase
    looked: Users
    digest: int
    seen: Users = ()
    staged: Users = ()
    unpublished: tuple[bool, ...] = ()
    beat: Record = Record(0, 0)
    now: Users = ()
    found: tuple[Difference | None, ...] = ()
    suspicion: SuspicionKind | None = None
    is_whole: bool = False
    is_disturbed: bool = False


class Left(NamedTuple):
    """How often things may still happen: this bounds the exploration."""

    changes: int
    beats: int
    faults: int
    comparisons: int


class Past(NamedTuple):
    """What has happened, as far as the invariants or the rules of ids and versions need it.

    ``lossy``: messages, or commits of the replica, were lost. ``set_back``: the source lost
    commits, and nobody ran ``restored`` since; ``was_set_back``: it ever did. ``damaged``: a row
    was changed by hand. ``silent``: the triggers did not see it, and no comparison of whole tables
    was made since. ``overtaken``: a later message was applied before an earlier one.
    """

    born: frozenset[int] = frozenset()
    changes: int = 0
    beats: int = 0
    lossy: bool = False
    set_back: bool = False
    was_set_back: bool = False
    damaged: bool = False
    silent: bool = False
    overtaken: bool = False


class State(NamedTuple):
    """The whole system.

    ``unconfirmed`` are the positions that the relay has sent, ``replays`` the messages in queues of
    their own: those of replays, and copies of urgent events.
    """

    source: Source
    unconfirmed: tuple[int, ...]
    queue: tuple[Message, ...]
    replays: tuple[Message, ...]
    replica: Replica
    comparison: Comparison | None
    standby_source: Source | None
    standby_replica: Replica | None
    past: Past
    left: Left


class Step(NamedTuple):
    """What happened: a name that ``words`` explains, and its details."""

    name: str
    user: int | None = None
    detail: object = None


class Report(NamedTuple):
    """What a comparison ended with.

    ``found`` is empty if the roots were equal. ``before`` are the replica's rows that its repairs
    met, ``repaired`` the users that they wrote.
    """

    reason: Reason
    is_in_step: bool
    found: tuple[Difference | None, ...] = ()
    repaired: frozenset[int] = frozenset()
    is_disturbed: bool = False


class Next(NamedTuple):
    """A step, the state after it, and what a comparison reports if it ended with this step."""

    step: Step
    state: State
    report: Report | None = None


def one_fault(state: State) -> State:
    return state._replace(left=state.left._replace(faults=state.left.faults - 1))


def replaced(users: Users, user: int, record: Record | None) -> Users:
    return (*users[:user], record, *users[user + 1 :])


NAMES: Final[Mapping[int, str]] = {0: "Ada", 1: "Bob", BEAT: "the heartbeat"}
