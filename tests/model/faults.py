"""Steps that nobody wants: losses, failovers, damage by hand, and messages sent again."""

from collections.abc import Iterator

from tests.model import product
from tests.model.consumer import write
from tests.model.relay import message_of
from tests.model.rules import Fault, Rules, Scenario
from tests.model.state import (
    BEAT,
    DAMAGED,
    PROVISIONAL,
    Message,
    Next,
    Past,
    Record,
    State,
    Step,
    one_fault,
)


def steps(scenario: Scenario, rules: Rules, state: State) -> Iterator[Next]:
    if not state.left.faults:
        return
    for fault in sorted(scenario.faults):
        match fault:
            case Fault.PURGE if state.queue:
                yield Next(Step("purged"), one_fault(_disturbed(state)._replace(queue=())))
            case Fault.THAW:
                yield from _thaws(state)
            case Fault.REPLAY:
                yield from _replays(state)
            case Fault.PROVISION:
                yield from _provisions(rules, state)
            case Fault.REPLICA_FAILOVER:
                yield from _replica_failover(state)
            case Fault.SOURCE_FAILOVER:
                yield from _source_failover(state)
            case Fault.DAMAGE:
                yield from _damages(rules, state, is_silent=False)
            case Fault.SILENT_DAMAGE:
                yield from _damages(rules, state, is_silent=True)
            case _:
                pass  # a step of the relay or the consumer


def _thaws(state: State) -> Iterator[Next]:
    """A relay that was frozen sends what another one has published since, payload and all."""
    for entry in state.source.log:
        if entry.is_published and entry.user != BEAT:
            after = state._replace(queue=(*state.queue, message_of(entry)))
            yield Next(Step("thawed", entry.user, entry), one_fault(after))


def _replays(state: State) -> Iterator[Next]:
    """A replay reads each event again just before it sends it: an erased one is not sent."""
    for entry in state.source.log:
        if entry.is_published and entry.user != BEAT and product.is_sent(entry):
            message = message_of(entry)
            after = state._replace(replays=(*state.replays, message))
            yield Next(Step("replayed", entry.user, entry), one_fault(after))
    for user, record in enumerate(state.source.users):
        if record is not None:
            after = state._replace(replays=(*state.replays, Message(user, record)))
            yield Next(Step("replayed as it is", user, record), one_fault(after))


def _provisions(rules: Rules, state: State) -> Iterator[Next]:
    """A valid token arrives before the user's event."""
    for user, record in enumerate(state.replica.users):
        if record is None and state.source.users[user] is not None:
            replica = write(rules, state.replica, user, PROVISIONAL)
            yield Next(Step("provisioned", user), one_fault(state._replace(replica=replica)))


def _replica_failover(state: State) -> Iterator[Next]:
    """The replica's database is replaced by a standby that is some commits behind."""
    behind = state.standby_replica
    if behind is None:
        after = state._replace(standby_replica=state.replica)
        yield Next(Step("replica's standby falls behind"), after)
    elif behind != state.replica:
        after = _disturbed(state)._replace(replica=behind, standby_replica=None, comparison=None)
        yield Next(Step("replica failed over"), one_fault(after))


def _source_failover(state: State) -> Iterator[Next]:
    """Likewise the source's; the relay's unconfirmed events are sent again, if they exist."""
    behind = state.standby_source
    if behind is None:
        after = state._replace(standby_source=state.source)
        yield Next(Step("source's standby falls behind"), after)
    elif behind != state.source:
        after = _disturbed(state)._replace(source=behind, standby_source=None, unconfirmed=())
        # What was sent before is at the broker: no message is lost with the source's commits.
        past = after.past._replace(set_back=True, was_set_back=True, lossy=state.past.lossy)
        yield Next(Step("source failed over"), one_fault(after._replace(past=past)))


def _damages(rules: Rules, state: State, *, is_silent: bool) -> Iterator[Next]:
    """Another program changes or removes a row of the replica.

    The triggers count it, unless they are disabled for it.
    """
    how = "past the triggers" if is_silent else "by hand"
    for user, record in enumerate(state.replica.users):
        if record is None:
            continue
        sign = -1 if record.is_deleted else 1
        if record.version and abs(record.content) < DAMAGED:
            changed = Record(record.version, record.content + sign * DAMAGED)
            after = _damaged(rules, state, user, changed, is_silent=is_silent)
            yield Next(Step(f"row changed {how}", user), after)
        after = _damaged(rules, state, user, None, is_silent=is_silent)
        yield Next(Step(f"row removed {how}", user), after)


def _damaged(
    rules: Rules, state: State, user: int, record: Record | None, *, is_silent: bool
) -> State:
    old = state.replica.users[user]
    replica = write(rules, state.replica, user, record)
    if is_silent:
        replica = replica._replace(digest=state.replica.digest)
    elif rules.counts_twice:
        digest = product.digest_after(rules, replica.digest, user, old, record)
        replica = replica._replace(digest=digest)
    replica = replica._replace(buried=replica.buried - {user})
    after = _disturbed(state)._replace(replica=replica)
    past = after.past._replace(damaged=True, silent=after.past.silent or is_silent)
    return one_fault(after._replace(past=past))


def _disturbed(state: State) -> State:
    """Note a loss, which a comparison under way need not find."""
    past: Past = state.past._replace(lossy=True)
    comparison = state.comparison
    if comparison is not None:
        comparison = comparison._replace(is_disturbed=True)
    return state._replace(past=past, comparison=comparison)
