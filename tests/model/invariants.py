"""State what must hold after every step.

Each check returns a sentence about what is broken, or None. A check of a step looks at the state
before it and after it; a check of a comparison also at its report.
"""

from replica.reconcile.kinds import IN_FLIGHT
from replica.reconcile.model import NEWER, Kind
from tests.model import product
from tests.model.consumer import counted_users
from tests.model.rules import Rules
from tests.model.state import BEAT, NAMES, Next, Record, State, Step

_BY_FORCE = frozenset(
    {
        *("replica failed over", "row changed by hand", "row removed by hand"),
        *("row changed past the triggers", "row removed past the triggers"),
    }
)
"""Steps after which the replica is not what its writer made of it."""

_BY_MERGE = frozenset(
    {"applied", "applied, not acknowledged", "overtook", "redriven", "provisioned"}
)


def broken(rules: Rules, before: State, following: Next) -> str | None:
    """Return the first invariant that a step breaks, in a sentence."""
    step, after, report = following
    if before.replica is not after.replica and step.name not in _BY_FORCE:
        found = _resurrected(after) or _regressed(rules, before, step, after) or _kept_bodies(after)
        if found:
            return found
        digest = product.digest_of(rules, counted_users(after.replica))
        if after.replica.digest != digest and not after.past.damaged:
            return "the replica's maintained digest is not that of its rows"
    found = _two_unconfirmed(after) or _lost(after)
    if found or report is None:
        return found
    return _repaired_wrongly(before, following) or _misjudged(before, following)


def _resurrected(state: State) -> str | None:
    for user in state.replica.buried:
        record = state.replica.users[user]
        if record is not None and not record.is_deleted:
            return f"{NAMES[user]}, whose deletion was applied, is alive in the replica again"
    return None


def _regressed(rules: Rules, before: State, step: Step, after: State) -> str | None:
    if step.name not in _BY_MERGE:
        return None
    pairs = zip(before.replica.users, after.replica.users, strict=True)
    for user, (old, new) in enumerate(pairs):
        if new is None and rules.without_tombstones:
            continue
        if old is not None and old != new and not (new is not None and product.is_newer(new, old)):
            return f"a message took {NAMES[user]} back to an older state"
    return None


def _kept_bodies(state: State) -> str | None:
    for message in state.replica.parked:
        present = state.replica.users[message.user]
        has_body = message.record is not None and not message.record.is_deleted
        if has_body and present is not None and present.is_deleted:
            return f"a body of {NAMES[message.user]}, who is deleted, is still parked"
    return None


def _two_unconfirmed(state: State) -> str | None:
    if len(state.unconfirmed) < 2:
        return None
    users = [
        entry.user
        for entry in state.source.log
        if entry.position in state.unconfirmed and entry.user != BEAT
    ]
    if len(set(users)) < len(users):
        return "two events of one user are unconfirmed at the same time"
    return None


def is_under_way(state: State, user: int, record: Record) -> bool:
    """Whether something will still bring ``record``, or a newer state of the user, to the replica.

    An erased event counts through the tombstone that follows it.
    """
    return (
        any(
            entry.user == user and not entry.is_published and _covers(entry.record, record)
            for entry in state.source.log
        )
        or any(each.user == user and _covers(each.record, record) for each in state.queue)
        or any(each.user == user and _covers(each.record, record) for each in state.replays)
    )


def is_parked(state: State, user: int) -> bool:
    return any(each.user == user for each in state.replica.parked)


def _covers(coming: Record | None, record: Record) -> bool:
    return coming is not None and (coming == record or product.is_newer(coming, record))


def is_reflected(state: State, user: int) -> bool:
    """Whether the replica has what the source has of a user."""
    ours, theirs = state.replica.users[user], state.source.users[user]
    if theirs is None:
        return ours is None or ours.is_deleted
    return ours == theirs


def _lost(state: State) -> str | None:
    """No acknowledged change is lost: it arrived, is under way, or is parked."""
    if state.past.lossy or state.past.was_set_back:
        return None
    for user, record in enumerate(state.source.users):
        if (
            record is not None
            and state.replica.users[user] != record
            and not is_under_way(state, user, record)
            and not is_parked(state, user)
        ):
            return f"a committed change of {NAMES[user]} is lost: nothing brings it to the replica"
    return None


def _repaired_wrongly(before: State, following: Next) -> str | None:
    """A repair never undoes what the source has now."""
    _, after, report = following
    assert report is not None
    for user in report.repaired:
        old, new = before.replica.users[user], after.replica.users[user]
        theirs = before.source.users[user]
        if old is not None and old != new and old == theirs:
            return f"a repair undid {NAMES[user]}'s state, which is the source's"
        if (
            old is not None
            and new is not None
            and theirs is not None
            and product.is_newer(old, new)
            and (old == theirs or product.is_newer(theirs, old))
            and is_in_source(before, user, old)
        ):
            return f"a repair took {NAMES[user]} back to an older state of the source"
        if report.found[user] is Kind.ORPHAN and theirs is not None:
            return f"a repair deleted {NAMES[user]}, who is a user of the source"
    return None


def is_in_source(state: State, user: int, record: Record) -> bool:
    """Whether the source has, or has recorded, this state of a user."""
    return state.source.users[user] == record or any(
        entry.user == user and entry.record == record for entry in state.source.log
    )


def _misjudged(before: State, following: Next) -> str | None:
    """A verdict names every loss, and nothing that is only late."""
    _, after, report = following
    assert report is not None
    if report.is_disturbed:
        return None
    comparison = before.comparison
    assert comparison is not None
    for user, theirs in enumerate(before.source.users):
        kind = report.found[user] if report.found else None
        if not report.found and before.past.silent and not comparison.is_whole:
            pass  # only a comparison of whole tables finds what the triggers did not see
        elif not report.found:
            ours = comparison.looked[user]
            if ours != theirs and not (theirs is None and ours is not None and ours.is_deleted):
                return f"the verdict is in step, and {NAMES[user]} differs"
        elif comparison.seen[user] is None and comparison.staged[user] is None:
            pass  # arrived meanwhile: neither side had the user when it was read
        elif (
            (kind is None or user in report.repaired)
            and not is_reflected(after, user)
            and not (theirs is not None and is_under_way(after, user, theirs))
            and not is_parked(after, user)
        ):
            return f"the comparison does not name {NAMES[user]}, whose change is lost"
        elif kind in NEWER and not (
            before.past.lossy or before.past.overtaken or is_parked(before, user)
        ):
            return f"nothing is lost, and the comparison calls {NAMES[user]} {kind}"
        elif (
            kind is not None
            and kind != IN_FLIGHT
            and kind not in NEWER
            and not before.past.was_set_back
            and not before.past.damaged
        ):
            return f"the source was never set back, and the comparison calls {NAMES[user]} {kind}"
    return None
