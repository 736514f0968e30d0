"""What can differ between a replica and its source, and what may be done about it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class Kind(StrEnum):
    """How a user differs; the ``kind`` label of ``usersync_reconcile_differing_users``."""

    MISSING = "missing"
    """The source has the user; the replica has not, or knows the id alone."""

    STALE = "stale"
    """The replica has an older version."""

    UNDELETED = "undeleted"
    """The source has the tombstone; in the replica the user is alive."""

    CORRUPT = "corrupt"
    """The same version with other content: the replica was changed by hand."""

    AHEAD = "ahead"
    """The replica has a newer version than the source ever had: that was set back, or is wrong."""

    ORPHAN = "orphan"
    """The replica has the user; the source never had them."""

    UNDONE_DELETION = "undone_deletion"
    """The replica has the tombstone; at the source the user is alive: it was set back."""

    PROVISIONAL_ORPHAN = "provisional_orphan"
    """An id alone, from a token that was valid once; the source never had it."""


class Verdict(StrEnum):
    """What a run ends with."""

    IN_STEP = "in_step"
    DRIFT = "drift"
    COULD_NOT_COMPARE = "could_not_compare"


class Reason(StrEnum):
    """Why a run is made."""

    OPERATOR = "operator"
    EMPTY = "empty"
    GAP = "gap"
    BACKWARDS = "backwards"
    QUEUE_LOST = "queue_lost"
    SCHEDULE = "schedule"
    PROOF = "proof"
    """A proof found users who differ (``replica.proof``)."""

    DIGESTS = "digests"
    """A proof found digests that differ although their users do not."""


class Phase(StrEnum):
    """What a run is at."""

    DIGESTS = "digests"
    """The digests of all users are computed on both sides."""

    READING = "reading"
    """The users of differing buckets come from the source."""

    ARRIVING = "arriving"
    """What is on its way is waited for, with a heartbeat behind it."""

    COMPARING = "comparing"
    """Users are told apart, and repaired."""


class State(StrEnum):
    """What has become of a run."""

    WAITING = "waiting"
    """Asked for; a consumer takes it up within seconds."""

    RUNNING = "running"

    LAPSED = "lapsed"
    """No consumer took it up in time, and none will."""

    BROKEN_OFF = "broken_off"
    """Its worker died."""

    ENDED = "ended"


WAITING_SECONDS_MAX: Final = 600.0
"""How long a run that was asked for waits: a consumer is back within a minute after an upgrade. One
that was asked for in the night must not repair in the morning, when all may be different."""

STARTING_SECONDS_MAX: Final = 10.0
"""Between the note that it begins and its lock a run has milliseconds."""

NEWER: Final = frozenset({Kind.MISSING, Kind.STALE, Kind.UNDELETED})
"""The source is ahead: repaired under the guard *newer*, which can do no harm, by itself too."""

AS_COMPARED: Final = frozenset({Kind.CORRUPT, Kind.AHEAD})
"""Repaired under the guard *as compared*."""

UNKNOWN_THERE: Final = frozenset({Kind.ORPHAN, Kind.PROVISIONAL_ORPHAN})
"""The source knows nothing of them."""

BY_ITSELF: Final = NEWER
"""What a run that nobody asked for repairs."""

OPTIONS: Final = {
    **dict.fromkeys((*NEWER, Kind.CORRUPT), "--repair"),
    Kind.AHEAD: "--ahead",
    **dict.fromkeys(UNKNOWN_THERE, "--orphans"),
}
"""The option of the command ``reconcile`` that repairs a kind."""

ERASE_AGAIN: Final = "auth-service users erase ID …"
"""The remedy of an undone deletion, which only the source can repair."""

DELETIONS_MAX: Final = 10
"""Orphans that one run may bury unless told otherwise: after a mistake, few enough to ask about."""

USERS_MAX: Final = 100
"""Users that one run may be about in place of all. They may lie in as many buckets, which are read
whole: of ten million users a quarter of a million, in about a second. For more, compare all."""

FINDINGS_MAX: Final = 1_000
"""Users of each kind that a report names; it counts all of them."""


def repairable(*, repair: bool, ahead: bool, orphans: bool) -> frozenset[Kind]:
    """The kinds that an operator asked to have repaired."""
    kinds: frozenset[Kind] = frozenset()
    if repair:
        kinds |= NEWER | {Kind.CORRUPT}
    if ahead:
        kinds |= {Kind.AHEAD}
    if orphans:
        kinds |= UNKNOWN_THERE
    return kinds


def remedy(kind: Kind, command: str) -> str:
    """The command line that repairs users of a kind; ``command`` is the service's."""
    return f"{command} reconcile {OPTIONS[kind]}" if kind in OPTIONS else ERASE_AGAIN


def repaired_by_itself(reason: Reason) -> frozenset[Kind]:
    """The kinds that a run repairs without being told.

    None when numbers ran backwards: then the source was set back, and it is for an operator to say
    what of the replica is right.
    """
    return frozenset() if reason is Reason.BACKWARDS else BY_ITSELF


def recomputes(reason: Reason) -> bool:
    """Whether a run computes digests from all users, and checks the maintained ones.

    Lost messages leave those right, and such a run should come to an end soon.
    """
    return reason not in (Reason.GAP, Reason.QUEUE_LOST)


def answers(reason: Reason, repairs: frozenset[Kind], verdict: Verdict) -> bool:
    """Whether a run with a verdict answers the suspicion that messages were lost.

    After numbers ran backwards there is nothing to repair by itself: the comparison is the answer.
    """
    return verdict is Verdict.IN_STEP or repairs >= NEWER or reason is Reason.BACKWARDS


def reason_to_run(
    *,
    is_empty: bool,
    suspicion: str | None,
    compared_last: int | None,
    seconds_since: float | None,
    every_seconds: float,
) -> Reason | None:
    """Why the replica should be compared now; None when nothing speaks for it.

    Parameters:
        is_empty: the replica has no user that an event has told of.
        suspicion: what the heartbeats gave rise to.
        compared_last: how many users the source had at the last comparison; None before the first.
        seconds_since: since that comparison.
        every_seconds: how often the proof is to be renewed; 0 for never.
    """
    if compared_last is None or seconds_since is None or (is_empty and compared_last):
        return Reason.EMPTY
    if suspicion is not None:
        return Reason(suspicion)
    # A comparison in the future was made while the clock was ahead.
    if every_seconds and not 0 <= seconds_since < every_seconds:
        return Reason.SCHEDULE
    return None


def state(
    *,
    has_ended: bool,
    waited_seconds: float,
    running_seconds: float | None,
    is_at_work: bool,
) -> State:
    """What has become of a run.

    Parameters:
        has_ended: it has a verdict, or an explanation.
        waited_seconds: since it was asked for.
        running_seconds: since it was begun; None when it was not.
        is_at_work: its lock is held.
    """
    if has_ended:
        return State.ENDED
    if running_seconds is None:
        return State.WAITING if waited_seconds < WAITING_SECONDS_MAX else State.LAPSED
    if is_at_work or running_seconds < STARTING_SECONDS_MAX:
        return State.RUNNING
    return State.BROKEN_OFF


def why_no_verdict(became: State, command: str) -> str | None:
    """Explain a run whose worker cannot; None if it needs no explanation.

    Parameters:
        became: the state of the run.
        command: the service's command.
    """
    if became is State.LAPSED:
        return (
            f"no consumer started it within {WAITING_SECONDS_MAX / 60:.0f} minutes: start one"
            f" ({command} consumer), and ask again"
        )
    if became is State.BROKEN_OFF:
        return "its worker exited before the end; what it had repaired stays repaired"
    return None


class CouldNotCompare(Exception):
    """There is no verdict; the message is a sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A user who differed. A version is None where there is no row."""

    user_id: UUID
    kind: Kind
    source_version: int | None
    replica_version: int | None
    repaired: bool


@dataclass(frozen=True, slots=True)
class EveryFinding:
    """Calls ``tell`` with every user of some kinds, however many there are."""

    kinds: frozenset[Kind]
    tell: Callable[[Finding], None]


@dataclass(slots=True)
class Tally:
    """What has been found so far, and what was done about it.

    ``in_flight`` counts users who differ because their events are on their way, or who changed
    while they were looked at: that is not drift. ``every`` is told what a report has no room for.
    """

    every: EveryFinding | None = None

    differing: dict[Kind, int] = field(default_factory=dict)
    repaired: dict[Kind, int] = field(default_factory=dict)
    in_flight: int = 0
    listed: dict[Kind, list[Finding]] = field(default_factory=dict)

    def add(self, kind: Kind, *, differing: int, repaired: int) -> None:
        """Count users of one kind."""
        self.differing[kind] = self.differing.get(kind, 0) + differing
        if repaired:
            self.repaired[kind] = self.repaired.get(kind, 0) + repaired

    def names_all(self, kind: Kind) -> bool:
        """Whether every user of this kind is asked for."""
        return self.every is not None and kind in self.every.kinds

    def wants(self, kind: Kind) -> bool:
        """Whether another finding of this kind is asked for, or the report has room for it."""
        return self.names_all(kind) or self._has_room(kind)

    def list(self, finding: Finding) -> None:
        """Name a user in the report, if there is room, and to ``every``."""
        if self.every is not None and finding.kind in self.every.kinds:
            self.every.tell(finding)
        if self._has_room(finding.kind):
            self.listed.setdefault(finding.kind, []).append(finding)

    def _has_room(self, kind: Kind) -> bool:
        return len(self.listed.get(kind, ())) < FINDINGS_MAX

    @property
    def left(self) -> dict[Kind, int]:
        """How many still differ, by kind."""
        return {kind: count - self.repaired.get(kind, 0) for kind, count in self.differing.items()}

    @property
    def unrepaired(self) -> int:
        """How many still differ."""
        return sum(self.left.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A verdict's grounds: who was compared with, as of when by its clock, and how many users.

    Deleted ones count: their tombstones are compared like anybody.
    """

    source: UUID
    source_at: datetime
    users: int
    tally: Tally
    brake: str | None = None
    """Why orphans were left although asked for."""

    corrections: tuple[str, ...] = ()
    """Which maintained digests were wrong; they say nothing about the users."""

    @property
    def explanation(self) -> str | None:
        """What an operator should know beside the verdict."""
        said = [*([] if self.brake is None else [self.brake]), *self.corrections]
        return "; ".join(said) or None

    @property
    def verdict(self) -> Verdict:
        """In step when nothing differs any more, apart from what is in flight."""
        return Verdict.DRIFT if self.tally.unrepaired else Verdict.IN_STEP


def brake(orphans: int, deletions_max: int, *, command: str) -> str | None:
    """Why none of ``orphans`` is buried, all or nothing; None when they may be."""
    if orphans <= deletions_max:
        return None
    return (
        f"unknown to the source: {orphans:,}, and at most {deletions_max:,} may be deleted"
        " here: none was. If the source is the right one, allow as many:"
        f" {command} reconcile --orphans --max-deletions N (over HTTP max_deletions)"
    )


def by_kind(counts: Mapping[Kind, int]) -> dict[str, int]:
    """Counts in the order in which kinds are declared, for a report."""
    return {kind.value: counts[kind] for kind in Kind if counts.get(kind)}
