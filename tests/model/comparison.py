"""Steps of a comparison, in its order; between any two of them everything else may happen."""

from collections.abc import Iterator

from replica.inbox.heartbeat_numbers import covers
from replica.reconcile.kinds import IN_FLIGHT
from replica.reconcile.model import AS_COMPARED, NEWER, Kind, Reason, Tally, Verdict, answers
from tests.model import product
from tests.model.consumer import counted_users, without_bodies, write
from tests.model.rules import Fault, Rules, Scenario
from tests.model.source import with_heartbeat
from tests.model.state import (
    BEAT,
    BURIED,
    Comparison,
    Next,
    Phase,
    Record,
    Replica,
    Report,
    State,
    Step,
    Users,
)


def steps(scenario: Scenario, rules: Rules, state: State) -> Iterator[Next]:
    if state.comparison is None:
        if state.left.comparisons:
            left = state.left._replace(comparisons=state.left.comparisons - 1)
            state = state._replace(left=left)
            yield begun(rules, state, due(state))
            if Fault.SILENT_DAMAGE in scenario.faults:
                yield begun(rules, state, Reason.SCHEDULE, is_whole=True)
            if scenario.asks_operator:
                yield begun(rules, state, Reason.OPERATOR, is_whole=True)
        return
    following = step(rules, state)
    if following is not None:
        yield following


def due(state: State) -> Reason:
    """Return why a comparison is made by itself."""
    last = state.replica.last
    return product.reason_due(None if last is None else last.suspicion)


def begun(rules: Rules, state: State, reason: Reason, *, is_whole: bool = False) -> Next:
    """Begin: read the replica's digests, or compute them and correct those that are kept."""
    looked = state.source.users if rules.source_first else state.replica.users
    if is_whole:
        digest = product.digest_of(rules, counted_users(state.replica))
        past = state.past._replace(silent=False)
        state = state._replace(replica=state.replica._replace(digest=digest), past=past)
    digest = state.replica.digest
    if rules.reads_folded_only:
        digest = product.digest_of(rules, state.replica.folded)
    comparison = Comparison(reason, Phase.LOOKED, looked, digest, is_whole=is_whole)
    last = state.replica.last
    comparison = comparison._replace(suspicion=None if last is None else last.suspicion)
    if rules.source_first:
        comparison = comparison._replace(digest=product.digest_of(rules, looked))
    name = "began, computing digests" if is_whole else "began"
    return Next(Step(name, detail=reason), state._replace(comparison=comparison))


def step(rules: Rules, state: State) -> Next | None:
    """Take the comparison of ``state`` one step further; None while it waits."""
    comparison = state.comparison
    assert comparison is not None
    match comparison.phase:
        case Phase.LOOKED:
            return _compare_roots(rules, state, comparison)
        case Phase.SEEN:
            return _stage(rules, state, comparison)
        case Phase.STAGED:
            return _classify(rules, state, comparison)
        case Phase.CLASSIFIED:
            return _repair(rules, state, comparison)


def _compare_roots(rules: Rules, state: State, comparison: Comparison) -> Next:
    if rules.source_first:
        theirs = state.replica.digest
    else:
        rows = state.source.folded if rules.reads_folded_only else state.source.users
        theirs = product.digest_of(rules, rows)
    if theirs == comparison.digest:
        report = Report(comparison.reason, True, is_disturbed=comparison.is_disturbed)
        return Next(Step("equal"), _ended(state, comparison, report), report)
    seen = comparison.looked if rules.source_first else state.replica.users
    further = comparison._replace(phase=Phase.SEEN, seen=seen)
    if rules.heartbeat_first:
        state, beat = with_heartbeat(state)
        further = further._replace(beat=beat)
    return Next(Step("differs"), state._replace(comparison=further))


def _stage(rules: Rules, state: State, comparison: Comparison) -> Next:
    """Read the source's rows, and request a heartbeat afterwards."""
    unpublished = {
        entry.user
        for entry in state.source.log
        if not entry.is_published and not rules.ignores_unpublished
    }
    staged = state.source.users
    if rules.source_first:
        staged, comparison = comparison.looked, comparison._replace(seen=state.replica.users)
    beat = comparison.beat
    if not rules.heartbeat_first:
        state, beat = with_heartbeat(state)
    further = comparison._replace(
        phase=Phase.STAGED,
        staged=staged,
        unpublished=tuple(user in unpublished for user in range(len(staged))),
        beat=beat,
    )
    return Next(Step("staged", detail=beat.version), state._replace(comparison=further))


def _classify(rules: Rules, state: State, comparison: Comparison) -> Next | None:
    number, time = comparison.beat
    if rules.heartbeat_by_number:
        time = 0
    if not rules.without_heartbeat and not covers(state.replica.last, number, product.at(time)):
        return None if _may_arrive(state, comparison.beat) else _given_up(state)
    now = state.replica.users
    looks = zip(comparison.staged, comparison.seen, now, comparison.unpublished, strict=True)
    found = tuple(product.difference(*each) for each in looks)
    further = comparison._replace(phase=Phase.CLASSIFIED, now=now, found=found)
    return Next(Step("classified", detail=found), state._replace(comparison=further))


def _may_arrive(state: State, beat: Record) -> bool:
    recorded = any(each.user == BEAT and each.record == beat for each in state.source.log)
    return recorded or any(each.user == BEAT and each.record == beat for each in state.queue)


def _given_up(state: State) -> Next:
    return Next(Step("could not compare"), state._replace(comparison=None))


def _repair(rules: Rules, state: State, comparison: Comparison) -> Next:
    """Write under the guards, which look at the row as it is now."""
    asked = product.repairs(comparison.reason)
    replica, tally, repaired = _with_account(rules, state.replica, comparison), Tally(), set()
    found = list(comparison.found)
    for user, kind in enumerate(comparison.found):
        if kind is None or kind == IN_FLIGHT:
            continue
        kind = Kind(kind)
        if kind not in asked:
            tally.add(kind, differing=1, repaired=0)
            continue
        coming, compared = comparison.staged[user], comparison.now[user]
        if _is_guarded(rules, kind, replica.users, user, coming, compared):
            # It moved meanwhile, so it is on its way.
            found[user] = IN_FLIGHT
            continue
        if kind is Kind.ORPHAN:
            assert compared is not None
            coming = Record(compared.version + 1, BURIED)
            if not rules.forgets_orphans:
                uncounted = replica.uncounted | {(user, coming.version)}
                replica = replica._replace(uncounted=uncounted)
        if coming is not None and coming.is_deleted:
            replica = without_bodies(replica, user)
        replica = write(rules, replica, user, coming)
        repaired.add(user)
        tally.add(kind, differing=1, repaired=1)
    is_in_step = (Verdict.DRIFT if tally.unrepaired else Verdict.IN_STEP) is Verdict.IN_STEP
    report = Report(
        comparison.reason, is_in_step, tuple(found), frozenset(repaired), comparison.is_disturbed
    )
    after = _ended(state._replace(replica=replica), comparison, report)
    return Next(Step("ended", detail=report), after, report)


def _with_account(rules: Rules, replica: Replica, comparison: Comparison) -> Replica:
    """Leave out of the digest the tombstones that the source does not know, and no others."""
    if rules.forgets_orphans:
        return replica
    for user, now in enumerate(replica.users):
        if now is None or not now.is_deleted:
            continue
        tombstone, digest = (user, now.version), replica.digest
        if comparison.staged[user] is not None and tombstone in replica.uncounted:
            digest = product.digest_after(rules, digest, user, None, now)
            replica = replica._replace(uncounted=replica.uncounted - {tombstone}, digest=digest)
        elif (
            comparison.staged[user] is None
            and comparison.seen[user] == now
            and tombstone not in replica.uncounted
        ):
            digest = product.digest_after(rules, digest, user, now, None)
            replica = replica._replace(uncounted=replica.uncounted | {tombstone}, digest=digest)
    return replica


def _is_guarded(
    rules: Rules,
    kind: Kind,
    users: Users,
    user: int,
    coming: Record | None,
    compared: Record | None,
) -> bool:
    """Whether a guard refuses the repair of a row, because it moved."""
    now = users[user]
    if kind in NEWER:
        assert coming is not None
        return not rules.repairs_without_newer and not product.is_newer(coming, now)
    if rules.repairs_without_as_compared:
        return False
    assert compared is not None  # only a row is corrupt, ahead, or an orphan
    unchanged = coming if kind in AS_COMPARED else compared
    return not product.is_as_compared(now, compared, unchanged)


def _ended(state: State, comparison: Comparison, report: Report) -> State:
    """Store the report; a verdict clears a suspicion from before the comparison."""
    undone = frozenset(
        user for user, kind in enumerate(report.found) if kind is Kind.UNDONE_DELETION
    )
    replica: Replica = state.replica._replace(undone=undone)
    verdict = Verdict.IN_STEP if report.is_in_step else Verdict.DRIFT
    last = replica.last
    if (
        last is not None
        and last.suspicion == comparison.suspicion
        and answers(comparison.reason, product.repairs(comparison.reason), verdict)
    ):
        replica = replica._replace(last=last._replace(suspicion=None))
    return state._replace(replica=replica, comparison=None)
