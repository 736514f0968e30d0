"""Replay what was observed of one user in a real system, and accept it or not.

A log has the events that leave a trace: commits, publications, marks, changes of the replica, the
verdicts of comparisons, failovers. Each must be a step that the model allows at that place, and
must lead to the record that was observed. Steps in between that leave no trace, such as a repeated
message or the phases of a comparison, are inferred: the search tries the model's own steps, the
likely ones first, until the whole log is explained. No step may break an invariant.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from itertools import chain, count, takewhile
from types import ModuleType
from typing import Final, NamedTuple, TypeAlias

from replica.inbox.heartbeat_numbers import covers
from replica.reconcile.kinds import IN_FLIGHT, Difference
from replica.reconcile.model import Kind
from tests.model import comparison, consumer, faults, operator, product, relay, source
from tests.model.invariants import broken, is_reflected
from tests.model.rules import PRODUCT, Fault, Scenario, initial
from tests.model.state import BEAT, Entry, Left, Next, Phase, Record, State


class Seen(StrEnum):
    COMMITTED = "committed"
    PUBLISHED = "published"
    CONFIRMED = "confirmed"
    APPLIED = "applied"
    PROVISIONED = "provisioned"
    PARKED = "parked"
    COMPARING = "a comparison begins"
    REPAIRED = "repaired"
    COMPARED = "compared"
    LOSING = "messages may be lost from here on"
    LOST = "no message is lost from here on"
    SOURCE_BEHIND = "the source's standby falls behind"
    SOURCE_FAILED_OVER = "the source fails over"
    REPLICA_BEHIND = "the replica's standby falls behind"
    REPLICA_FAILED_OVER = "the replica fails over"
    RESTORED = "restored"
    SETTLED = "settled"


class Observed(NamedTuple):
    """One event of a log.

    Parameters:
        what: what was observed.
        version: of the user's state that it is about.
        is_deletion: whether that state is a tombstone.
        kind: of a verdict: how the user differs, and is not repaired; None if the user is equal.
        is_claim: of a verdict: whether it says anything about the user.
        is_operators: of a comparison: whether an operator asked for it.
        is_urgent: of a commit: whether its event overtakes earlier ones at the relay.
    """

    what: Seen
    version: int | None = None
    is_deletion: bool = False
    kind: Kind | None = None
    is_claim: bool = True
    is_operators: bool = False
    is_urgent: bool = False

    def __str__(self) -> str:
        state = "" if self.version is None else f" version {self.version}"
        deletion = " (a tombstone)" if self.is_deletion else ""
        verdict = f": {self.kind or 'equal'}" if self.what is Seen.COMPARED else ""
        urgent = " (urgent)" if self.is_urgent else ""
        return f"{self.what}{state}{deletion}{verdict}{urgent}"


Log: TypeAlias = tuple[Observed, ...]

ROUNDS: Final = ((2, 200), (5, 500), (9, 4_000), (16, 6_000))
"""Of the search: the cost of the steps that are inferred between two observations at most (a fault
costs three, others one), and the states that are tried. Most logs need few of both."""

STEP_STATES_MAX: Final = 2_000
"""Tried between two observations."""

_BEAT_STEPS: Final = 2
"""The heartbeat of a comparison is sent and applied."""

_PLENTY: Final = Left(changes=9, beats=0, faults=9, comparisons=9)

_USUAL: Final = frozenset({"sent", "confirmed", "applied"})

_FAULTY: Final = frozenset({"relay crashed", "refused", "overtook", "thawed"})

_COMPARING: Final = frozenset(
    {
        *("began", "began, computing digests", "equal", "differs", "staged", "classified"),
        *("ended", "could not compare"),
    }
)

_ALWAYS: Final = frozenset({Fault.RELAY_CRASH, Fault.REFUSAL, Fault.OVERTAKING, Fault.THAW})

_FAULTS: Final = {
    Seen.PROVISIONED: Fault.PROVISION,
    Seen.PARKED: Fault.PARKING,
    Seen.SOURCE_BEHIND: Fault.SOURCE_FAILOVER,
    Seen.SOURCE_FAILED_OVER: Fault.SOURCE_FAILOVER,
    Seen.REPLICA_BEHIND: Fault.REPLICA_FAILOVER,
    Seen.REPLICA_FAILED_OVER: Fault.REPLICA_FAILOVER,
}

_NAMES: Final = {
    Seen.PROVISIONED: "provisioned",
    Seen.PARKED: "parked",
    Seen.SOURCE_BEHIND: "source's standby falls behind",
    Seen.SOURCE_FAILED_OVER: "source failed over",
    Seen.REPLICA_BEHIND: "replica's standby falls behind",
    Seen.REPLICA_FAILED_OVER: "replica failed over",
    Seen.RESTORED: "restored",
}
"""Observations that are one step of the model, by its name."""


class Context(NamedTuple):
    """What may happen unseen at a place of the log."""

    sees_sends: bool
    is_comparing: bool = False
    is_operators: bool = False
    is_claim: bool = False
    """Whether the comparison will end with a verdict about the user ..."""
    claim: Difference | None = None
    """... and with which."""
    repaired: int | None = None
    """The version that it will write, and so has read at the source."""
    is_losing: bool = False
    is_behind: bool = False
    """Whether the source's standby is behind: a heartbeat may be lost, too."""
    is_replica_behind: bool = False
    """Whether the replica's standby is behind: what was applied before a failover, and not
    acknowledged, is applied again after it."""

    def after(self, observed: Observed, rest: Log) -> "Context":
        """Return the context after an observation, and before the ``rest`` of the log."""
        match observed.what:
            case Seen.COMPARING:
                window = list(takewhile(lambda each: each.what is not Seen.COMPARED, rest))
                verdict = rest[len(window)]
                repaired = (each.version for each in window if each.what is Seen.REPAIRED)
                return self._replace(
                    repaired=next(repaired, None),
                    is_comparing=True,
                    is_operators=observed.is_operators,
                    is_claim=verdict.is_claim,
                    claim=verdict.kind,
                )
            case Seen.REPAIRED:
                return self._replace(repaired=None)
            case Seen.COMPARED:
                return self._replace(
                    is_comparing=False, is_operators=False, is_claim=False, claim=None
                )
            case Seen.LOSING | Seen.LOST:
                return self._replace(is_losing=observed.what is Seen.LOSING)
            case Seen.SOURCE_BEHIND | Seen.SOURCE_FAILED_OVER:
                return self._replace(is_behind=observed.what is Seen.SOURCE_BEHIND)
            case Seen.REPLICA_BEHIND | Seen.REPLICA_FAILED_OVER:
                return self._replace(is_replica_behind=observed.what is Seen.REPLICA_BEHIND)
            case _:
                return self


@dataclass(frozen=True)
class Refusal:
    """The first observation that no step of the model explains, and what it would break."""

    log: Log
    place: int
    breaks: frozenset[str]

    def __str__(self) -> str:
        lines = [
            f"{'->' if place == self.place else '  '} {place:>3}. {observed}"
            for place, observed in enumerate(self.log)
        ]
        return "\n".join(
            [*lines, *(f"     it would break: {each}" for each in sorted(self.breaks))]
        )


def accept(log: Log, *, sees_sends: bool) -> Refusal | None:
    """Return None if the model explains a log to its end.

    Parameters:
        log: of one user, from the first commit until the system has settled.
        sees_sends: whether every publication is in the log.
    """
    return _accept(_numbered(log), sees_sends)


def _numbered(log: Log) -> Log:
    """Number versions from 1 on, so that users with the same story have the same log."""
    numbers = {
        version: number
        for number, version in enumerate(
            sorted({each.version for each in log if each.version is not None}), 1
        )
    }
    return tuple(
        each if each.version is None else each._replace(version=numbers[each.version])
        for each in log
    )


@lru_cache(maxsize=10_000)
def _accept(log: Log, sees_sends: bool) -> Refusal | None:
    return _Search((*log, Observed(Seen.SETTLED)), sees_sends).run()


@dataclass
class _Search:
    """Looks for a way through the model that explains a log, depth first."""

    log: Log
    sees_sends: bool
    furthest: int = 0
    breaks: dict[int, set[str]] = field(default_factory=dict)
    cost_max: int = 0
    left: int = 0
    """States that may still be tried in this round."""
    dead: set[tuple[int, State]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._urgent = {
            each.version for each in self.log if each.is_urgent and each.version is not None
        }

    def run(self) -> Refusal | None:
        """Search, with more inferred steps in each round."""
        start = _with_comparisons(initial(_scenario(frozenset(), False)), 0)
        for self.cost_max, states_max in ROUNDS:
            self.left = states_max
            self.dead.clear()
            if self._explains(0, start, Context(self.sees_sends), {}):
                return None
        return Refusal(self.log, self.furthest, frozenset(self.breaks.get(self.furthest, ())))

    def _explains(
        self, first: int, state: State, context: Context, records: dict[int, Record]
    ) -> bool:
        """Whether the log from ``first`` on can follow; a stack, because logs are long."""
        stack = [self._following(first, state, context, records)]
        places = [(first, state)]
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
                self.dead.add(places.pop())
                continue
            place = first + len(stack)
            if place == len(self.log):
                return True
            after, further, known = found
            after = _concluded(after, further)
            if (place, after) in self.dead:
                continue
            stack.append(self._following(place, after, further, known))
            places.append((place, after))
        return False

    def _following(
        self, place: int, state: State, context: Context, records: dict[int, Record]
    ) -> Iterator[tuple[State, Context, dict[int, Record]]]:
        """Yield the states after the observation at ``place``, the likely ones first."""
        self.furthest = max(self.furthest, place)
        observed = self.log[place]
        further = context.after(observed, self.log[place + 1 :])
        if observed.what in (Seen.LOSING, Seen.LOST):
            yield state, further, records
            return
        if observed.what is Seen.COMPARING:
            yield _with_comparisons(state, _PLENTY.comparisons), further, records
            return
        urgent = {records[version] for version in self._urgent & records.keys()}
        number = count()
        heap = [(0, 0, next(number), state)]
        seen = {state}
        while heap and self.left and len(seen) < STEP_STATES_MAX:
            _, cost, _, present = heapq.heappop(heap)
            self.left -= 1
            if observed.what is Seen.SETTLED:
                if _is_settled(present):
                    yield present, further, records
            elif observed.what is Seen.COMPARED and (
                _has_concluded(present) or not observed.is_claim
            ):
                yield _with_comparisons(present, 0)._replace(comparison=None), further, records
                if not observed.is_claim:
                    return
            for following in self._steps(present, context, observed):
                if _overtakes(following, present, urgent):
                    continue
                matches = _matches(observed, present, following, records)
                matches = matches and not _comes_too_early(observed, present, context, records)
                price = _price(following, present, context)
                if not matches and (not price or cost + price > self.cost_max):
                    continue
                if what := broken(PRODUCT, present, following):
                    self.breaks.setdefault(place, set()).add(what)
                    continue
                after = following.state
                if _concludes(following, context):
                    after = _with_comparisons(after, 0)
                if matches:
                    known = records
                    if observed.what in (Seen.COMMITTED, Seen.RESTORED) and observed.version:
                        written = after.source.users[0]
                        assert written is not None
                        known = records | {observed.version: written}
                    yield after, further, known
                least = cost + price + _steps_left(after, observed)
                if price and least <= self.cost_max and after not in seen:
                    seen.add(after)
                    heapq.heappush(heap, (least, cost + price, next(number), after))

    def _steps(self, state: State, context: Context, observed: Observed) -> Iterator[Next]:
        may_fail = _ALWAYS | ({_FAULTS[observed.what]} if observed.what in _FAULTS else set())
        if context.is_losing:
            may_fail |= {Fault.PURGE}
        if context.is_replica_behind and observed.what is Seen.APPLIED:
            may_fail |= {Fault.REDELIVERY}
        asks = context.is_operators or observed.what is Seen.RESTORED
        comparisons = state.left.comparisons
        left = _PLENTY._replace(beats=int(context.is_behind), comparisons=comparisons)
        scenario, state = _scenario(may_fail, asks), state._replace(left=left)
        for following in chain.from_iterable(
            module.steps(scenario, PRODUCT, state) for module in _modules(context, observed)
        ):
            left = _PLENTY._replace(comparisons=comparisons)
            yield following._replace(state=following.state._replace(left=left))


def _modules(context: Context, observed: Observed) -> Iterator[ModuleType]:
    """Yield the parts of the model whose steps may follow."""
    yield from (relay, consumer, faults)
    if context.is_behind or observed.what is Seen.COMMITTED:
        yield source
    if context.is_comparing:
        yield comparison
    if observed.what is Seen.RESTORED:
        yield operator


def _with_comparisons(state: State, number: int) -> State:
    """Allow comparisons, or none: outside of an observed one, and once it has its verdict."""
    return state._replace(left=_PLENTY._replace(comparisons=number))


def _concluded(state: State, context: Context) -> State:
    """Let a comparison that will call the user equal end as soon as it can.

    Nothing that it could do later would be observed.
    """
    waits = context.is_comparing and state.left.comparisons and state.comparison is None
    if not waits or not context.is_claim or context.claim is not None:
        return state
    begun = comparison.begun(PRODUCT, state, comparison.due(state))
    following = comparison.step(PRODUCT, begun.state)
    if following is None or following.report is None or broken(PRODUCT, begun.state, following):
        return state
    return _with_comparisons(following.state, 0)


def _has_concluded(state: State) -> bool:
    return not state.left.comparisons and state.comparison is None


def _concludes(following: Next, context: Context) -> bool:
    """Whether a comparison ends with the verdict that is going to be observed."""
    report = following.report
    if report is None or not context.is_comparing:
        return False
    return (report.found[0] if report.found else None) == context.claim and not report.repaired


@cache
def _scenario(faults: frozenset[Fault], asks_operator: bool) -> Scenario:
    return Scenario(
        "observed",
        _PLENTY,
        faults,
        asks_operator=asks_operator,
        any_batch=True,
        has_urgent=True,  # a copy that was applied first looks like a message that overtook
    )


def _is_settled(state: State) -> bool:
    """Whether everything was published, and the replica has what the source has."""
    waits = any(
        entry.user != BEAT and not entry.is_published and product.is_sent(entry)
        for entry in state.source.log
    )
    return is_reflected(state, 0) and not waits and not state.replica.parked


def _matches(
    observed: Observed, before: State, following: Next, records: dict[int, Record]
) -> bool:
    """Whether a step is what was observed."""
    step, after, report = following
    record = records.get(observed.version or 0)
    row = after.replica.users[0]
    match observed.what:
        case Seen.COMMITTED:
            return step.name in (("deleted",) if observed.is_deletion else ("created", "changed"))
        case Seen.PUBLISHED:
            return any(entry.record == record for entry in _published(following))
        case Seen.CONFIRMED:
            return step.name == "confirmed" and record in _marked(before, after)
        case Seen.APPLIED:
            is_applied = step.name in ("applied", "applied, not acknowledged", "overtook")
            is_written = row is not None and row == record != before.replica.users[0]
            return is_written and (is_applied or step.name == "redriven")
        case Seen.REPAIRED:
            if report is None or 0 not in report.repaired or row is None:
                return False
            return row == record or (observed.is_deletion and report.found[0] is Kind.ORPHAN)
        case Seen.COMPARED:
            return False  # its verdict is a step that leaves no trace
        case _:
            return step.name == _NAMES.get(observed.what)


def _overtakes(following: Next, state: State, urgent: set[Record]) -> bool:
    """Whether an event is sent before an earlier one of its user, and is not urgent."""
    step = following.step
    if step.name != "sent" or step.detail == relay.next_wave(PRODUCT, state):
        return False
    return not any(entry.record in urgent for entry in _published(following))


def _published(following: Next) -> tuple[Entry, ...]:
    step = following.step
    match step.name, step.detail:
        case "sent", tuple() as wave:
            entries = wave
        case "refused", (_, tuple() as wave):
            entries = wave
        case "thawed", Entry() as entry:
            entries = (entry,)
        case _:
            entries = ()
    return tuple(entry for entry in entries if entry.user != BEAT)


def _marked(before: State, after: State) -> list[Record]:
    """Return the states whose events were marked as published, without erased ones."""
    was = {entry.position for entry in before.source.log if entry.is_published}
    return [
        entry.record
        for entry in after.source.log
        if entry.is_published
        and entry.position not in was
        and entry.user != BEAT
        and product.is_sent(entry)
    ]


def _comes_too_early(
    observed: Observed, state: State, context: Context, records: dict[int, Record]
) -> bool:
    """Whether a commit would hide from a comparison what it must still read.

    That is the state that it will write, or the living user whose deletion it will call undone.
    """
    theirs = state.source.users[0]
    if observed.what is not Seen.COMMITTED or theirs is None:
        return False
    is_written = context.repaired is not None and theirs == records.get(context.repaired)
    is_undone = context.claim is Kind.UNDONE_DELETION and observed.is_deletion
    comparison = state.comparison
    is_read = comparison is not None and comparison.phase in (Phase.STAGED, Phase.CLASSIFIED)
    return (is_written or is_undone) and not is_read and not _has_concluded(state)


def _steps_left(state: State, observed: Observed) -> int:
    """Return how many steps at least lead from a state to the end of a comparison that differs."""
    differs = observed.what is Seen.REPAIRED or (
        observed.what is Seen.COMPARED and observed.is_claim and observed.kind is not None
    )
    if not differs or _has_concluded(state):
        return 0
    if state.comparison is None:
        return len(Phase) + _BEAT_STEPS
    left = len(Phase) - list(Phase).index(state.comparison.phase) - 1
    if state.comparison.phase in (Phase.LOOKED, Phase.SEEN):
        return left + _BEAT_STEPS
    is_sent = any(each.record == state.comparison.beat for each in state.queue)
    is_applied = state.replica.last is not None and covers(
        state.replica.last, state.comparison.beat.version, product.at(state.comparison.beat.content)
    )
    is_due = state.comparison.phase is Phase.STAGED and not is_applied
    return left + (0 if not is_due else 1 if is_sent else _BEAT_STEPS)


def _price(following: Next, before: State, context: Context) -> int:
    """Return what a step costs that leaves no trace; 0 if it would leave one."""
    step, after, report = following
    name = step.name
    if before.replica.users != after.replica.users or _marked(before, after):
        return 0
    if context.sees_sends and _published(following):
        return 0
    if name in _COMPARING:
        is_quiet = report is None or report.found[:1] in ((), (None,), (IN_FLIGHT,))
        return int(context.is_comparing and (is_quiet or _concludes(following, context)))
    if name == "purged" or (name == "beat" and context.is_behind):
        return 1
    return 1 if name in _USUAL else 3 if name in _FAULTY else 0
