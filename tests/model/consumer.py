"""Steps of the consumer: apply a batch, deliver again, park, redrive."""

from collections.abc import Iterable, Iterator, Sequence

from replica.inbox.heartbeat_numbers import follow
from tests.model import product
from tests.model.rules import Fault, Rules, Scenario
from tests.model.state import (
    BEAT,
    Message,
    Next,
    Record,
    Replica,
    State,
    Step,
    Users,
    one_fault,
    replaced,
)


def steps(scenario: Scenario, rules: Rules, state: State) -> Iterator[Next]:
    """Apply the first messages; redrive; with the budget of faults, more."""
    faults = scenario.faults if state.left.faults else frozenset()
    queue = state.queue
    for size in _sizes(scenario, len(queue)):
        batch = queue[:size]
        applied = with_replica(state, apply(rules, state.replica, batch))
        yield Next(Step("applied", detail=batch), applied._replace(queue=queue[size:]))
        if Fault.REDELIVERY in faults:
            yield Next(Step("applied, not acknowledged", detail=batch), one_fault(applied))
    for place in _places(scenario, len(queue)) if Fault.OVERTAKING in faults else ():
        later = queue[place : place + 1]
        after = with_replica(state, apply(rules, state.replica, later))
        past = state.past._replace(overtaken=True)
        after = one_fault(after)._replace(queue=queue[:place] + queue[place + 1 :], past=past)
        yield Next(Step("overtook", detail=later), after)
    if Fault.PARKING in faults and queue and queue[0].user != BEAT:
        parked = _parked(state.replica, queue[0])
        after = one_fault(with_replica(state, parked))._replace(queue=queue[1:])
        yield Next(Step("parked", queue[0].user, queue[0]), after)
    for place, message in enumerate(state.replica.parked):
        if message.record is not None:
            step = Step("redriven", message.user, message)
            yield Next(step, redriven(rules, state, place))
    if state.replays:
        batch = state.replays[:1]
        after = with_replica(state, apply(rules, state.replica, batch))
        yield Next(Step("applied", detail=batch), after._replace(replays=state.replays[1:]))


def _sizes(scenario: Scenario, waiting: int) -> Iterable[int]:
    """Return how many messages may be applied at once: one or all, if that is enough."""
    return range(1, waiting + 1) if scenario.any_batch else sorted({1, waiting} - {0})


def _places(scenario: Scenario, waiting: int) -> Iterable[int]:
    """Return the places in the queue from which a message may overtake."""
    return range(1, waiting if scenario.any_batch else min(waiting, 2))


def with_replica(state: State, replica: Replica) -> State:
    return state._replace(replica=replica)


def apply(rules: Rules, replica: Replica, batch: Sequence[Message]) -> Replica:
    """Apply a batch in one transaction, as the product does: fold, then write what is newer."""
    states = []
    for message in batch:
        assert message.record is not None  # a message at the broker has a body
        if message.user == BEAT:
            number, time = message.record
            last = follow(replica.last, number, product.at(time))
            if last is not None:
                replica = replica._replace(last=last)
        else:
            states.append((message.user, message.record))
    if rules.by_position:
        return _by_position(rules, replica, batch)
    for user, record in product.folded(tuple(states)):
        if record.is_deleted:
            replica = without_bodies(replica, user)
        if product.is_newer(record, replica.users[user]):
            replica = write(rules, replica, user, record)
    return replica


def _by_position(rules: Rules, replica: Replica, batch: Sequence[Message]) -> Replica:
    for message in batch:
        user, record = message.user, message.record
        if user != BEAT and message.position > replica.positions[user]:
            positions = list(replica.positions)
            positions[user] = message.position
            if record is not None and record.is_deleted:
                replica = without_bodies(replica, user)
            replica = write(rules, replica, user, record)._replace(positions=tuple(positions))
    return replica


def write(rules: Rules, replica: Replica, user: int, record: Record | None) -> Replica:
    """Write or remove a user's row; the trigger keeps the digest."""
    buried = replica.buried
    if record is not None and record.is_deleted:
        buried |= {user}
        if rules.without_tombstones:
            record = None
    old = counted(replica, user, replica.users[user])
    new = counted(replica, user, record)
    return replica._replace(
        users=replaced(replica.users, user, record),
        digest=product.digest_after(rules, replica.digest, user, old, new),
        buried=buried,
    )


def counted(replica: Replica, user: int, record: Record | None) -> Record | None:
    """Return what counts in the replica's digest: a tombstone not, if the source never had it."""
    if record is not None and record.is_deleted and (user, record.version) in replica.uncounted:
        return None
    return record


def counted_users(replica: Replica) -> Users:
    """Return the rows that count in the replica's digest."""
    return tuple(counted(replica, user, record) for user, record in enumerate(replica.users))


def _parked(replica: Replica, message: Message) -> Replica:
    present = replica.users[message.user]
    is_gone = present is not None and present.is_deleted
    assert message.record is not None
    if is_gone and not message.record.is_deleted:
        message = message._replace(record=None)
    parked = sorted({*replica.parked, message}, key=repr)
    return replica._replace(parked=tuple(parked))


def without_bodies(replica: Replica, user: int) -> Replica:
    """Erase what is parked of a user who is deleted now; a deletion has no body."""
    if not replica.parked:
        return replica
    parked = {
        message._replace(record=None)
        if message.user == user and message.record and not message.record.is_deleted
        else message
        for message in replica.parked
    }
    return replica._replace(parked=tuple(sorted(parked, key=repr)))


def redriven(rules: Rules, state: State, place: int) -> State:
    """Apply a parked message by the code for new ones, and remove it, in one transaction."""
    parked = state.replica.parked
    message = parked[place]
    replica = state.replica._replace(parked=parked[:place] + parked[place + 1 :])
    if rules.redrives_without_merge:
        return with_replica(state, write(rules, replica, message.user, message.record))
    return with_replica(state, apply(rules, replica, [message]))
