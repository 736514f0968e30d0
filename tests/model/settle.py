"""Let all faults end, and see whether both sides agree in the end.

The relay sends, the consumer applies, parked messages are redriven and a comparison is made, as a
heartbeat leads to. If the source was never set back and nobody changed the replica by hand, that
must be enough. Otherwise the operator does what the runbook says.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from replica.reconcile.kinds import IN_FLIGHT
from replica.reconcile.model import Reason
from tests.model import comparison, consumer, operator, relay
from tests.model.invariants import broken, is_reflected
from tests.model.rules import Rules, Scenario
from tests.model.state import NAMES, Left, Next, Report, State, Step

_NOTHING_LEFT = Left(changes=0, beats=0, faults=0, comparisons=0)

STEPS_MAX = 200
"""More than settling ever takes; a system that does not settle is a finding."""


@dataclass
class Settling:
    """How one state settles: the steps that were taken, and what is broken in the end."""

    scenario: Scenario
    rules: Rules
    state: State
    steps: list[Step] = field(default_factory=list)
    broken: str | None = None
    report: Report | None = None

    def take(self, following: Next) -> None:
        if self.broken is None:
            self.broken = broken(self.rules, self.state, following)
        self.steps.append(following.step)
        self.state = following.state
        self.report = following.report or self.report
        if len(self.steps) > STEPS_MAX and self.broken is None:
            self.broken = "the system does not settle"


class Settler:
    """Settles states, and remembers those that are known to settle well."""

    def __init__(self, scenario: Scenario, rules: Rules) -> None:
        self._scenario = scenario
        self._rules = rules
        self._good: set[State] = set()

    def failure(self, state: State) -> tuple[str, list[Step]] | None:
        """Return what is broken after ``state`` has settled, and the steps to it; None if well."""
        state = state._replace(left=_NOTHING_LEFT, standby_source=None, standby_replica=None)
        settling = Settling(self._scenario, self._rules, state)
        passed: list[State] = []
        for following in self._drain(settling):
            if settling.state in self._good:
                self._good.update(passed)
                return None
            passed.append(settling.state)
            settling.take(following)
            if settling.broken:
                return settling.broken, settling.steps
        if settling.state not in self._good:
            drained = settling.state
            self._conclude(settling)
            if settling.broken:
                return settling.broken, settling.steps
            self._good.add(drained)
        self._good.update(passed)
        return None

    def _drain(self, settling: Settling) -> Iterator[Next]:
        """Yield what a healthy system does next, until there is nothing left to do."""
        while (following := self._next(settling.state)) is not None:
            yield following

    def _next(self, state: State) -> Next | None:
        if state.past.set_back:
            return Next(Step("restored"), operator.restored(self._scenario, state))
        if state.unconfirmed:
            after = relay.confirmed(self._scenario, state)
            return Next(Step("confirmed", detail=state.unconfirmed), after)
        batch = state.queue or state.replays
        if batch:
            replica = consumer.apply(self._rules, state.replica, batch)
            after = state._replace(replica=replica)
            after = after._replace(queue=()) if state.queue else after._replace(replays=())
            return Next(Step("applied", detail=batch), after)
        wave = relay.next_wave(self._rules, state)
        if wave:
            after = relay.confirmed(self._scenario, relay.sent(state, wave))
            return Next(Step("published", detail=wave), after)
        for place, message in enumerate(state.replica.parked):
            if message.record is None:
                return Next(Step("discarded", message.user), _discarded(state, place))
            after = consumer.redriven(self._rules, state, place)
            return Next(Step("redriven", message.user, message), after)
        if state.comparison is not None:
            return comparison.step(self._rules, state)
        return None

    def _conclude(self, settling: Settling) -> None:
        """Compare until nothing differs; check that each comparison names what differs."""
        state = settling.state
        needs_operator = state.past.was_set_back or state.past.damaged
        self._compare(settling, comparison.due(settling.state))
        if settling.broken:
            return
        if needs_operator:
            self._compare(settling, Reason.OPERATOR, is_whole=True)
            if settling.broken:
                return
            after = operator.erased_again(self._scenario, self._rules, settling.state)
            settling.take(Next(Step("erased again"), after))
            for following in self._drain(settling):
                settling.take(following)
                if settling.broken:
                    return
            self._compare(settling, Reason.OPERATOR, is_whole=True)
        if settling.broken:
            return
        for user in range(self._scenario.users):
            if not is_reflected(settling.state, user):
                settling.broken = f"all is quiet, and {NAMES[user]} differs for good"
                return
        if settling.report is None or not settling.report.is_in_step:
            settling.broken = "both sides agree, and the comparison does not say so"
            return
        settling.take(comparison.begun(self._rules, settling.state, Reason.PROOF))
        looked = comparison.step(self._rules, settling.state)
        if looked is None or looked.report is None:
            settling.broken = "both sides agree, and their digests differ for good"

    def _compare(self, settling: Settling, reason: Reason, *, is_whole: bool = False) -> None:
        """Make a comparison while nothing else happens; it must name everyone who differed."""
        differed = {
            user for user in range(self._scenario.users) if not is_reflected(settling.state, user)
        }
        settling.report = None
        was_silent = settling.state.past.silent and not is_whole
        settling.take(comparison.begun(self._rules, settling.state, reason, is_whole=is_whole))
        for following in self._drain(settling):
            if settling.broken:
                return
            settling.take(following)
        report = settling.report
        if settling.broken or report is None:
            settling.broken = settling.broken or "a comparison of a quiet system has no verdict"
            return
        named = {user for user, kind in enumerate(report.found) if kind not in (None, IN_FLIGHT)}
        for user in set() if was_silent and not report.found else differed - named:
            settling.broken = f"{NAMES[user]} differs, and the next comparison does not say so"
            return


def _discarded(state: State, place: int) -> State:
    """Discard a parked message of a deleted user: only its headers are left."""
    parked = state.replica.parked
    replica = state.replica._replace(parked=parked[:place] + parked[place + 1 :])
    return state._replace(replica=replica)
