"""Steps of the source: a committed change with its event, and a heartbeat."""

from collections.abc import Iterator

from tests.model.rules import Rules, Scenario
from tests.model.state import BEAT, Entry, Left, Next, Past, Record, Source, State, Step, replaced


def steps(scenario: Scenario, rules: Rules, state: State) -> Iterator[Next]:
    """Create, change or delete each user; record a heartbeat."""
    left = state.left
    if left.changes:
        spent = left._replace(changes=left.changes - 1)
        for user, present in enumerate(state.source.users):
            if present is None:
                # Ids are never reused; and which of two unborn users comes first does not matter.
                if user not in state.past.born and (user == 0 or user - 1 in state.past.born):
                    yield _change("created", scenario, state, user, spent)
            elif not present.is_deleted:
                yield _change("changed", scenario, state, user, spent)
                after = deleted(scenario, rules, state, user)._replace(left=spent)
                record = after.source.log[-1].record
                yield Next(Step("deleted", user, record), after)
    if left.beats:
        after, _ = with_heartbeat(state)
        spent = left._replace(beats=left.beats - 1)
        yield Next(Step("beat", detail=after.source.beat), after._replace(left=spent))


def _change(name: str, scenario: Scenario, state: State, user: int, left: Left) -> Next:
    past = changed_once(state.past, user)
    record = Record(next_version(scenario, state, user), past.changes)
    source = written(state.source, user, record)
    return Next(Step(name, user, record), state._replace(source=source, past=past, left=left))


def deleted(scenario: Scenario, rules: Rules, state: State, user: int) -> State:
    """Return the state after a deletion: earlier payloads of the user are erased with it."""
    past = changed_once(state.past, user)
    record = Record(next_version(scenario, state, user), -past.changes)
    log = tuple(
        entry._replace(is_erased=True) if entry.user == user else entry
        for entry in state.source.log
    )
    source = written(state.source._replace(log=log), user, record)
    if rules.without_tombstones:
        source = source._replace(users=replaced(source.users, user, None))
    return state._replace(source=source, past=past)


def next_version(scenario: Scenario, state: State, user: int) -> int:
    """Return the version of the next change: ``max(previous + 1, clock)``.

    A clock that works is above every version that was ever assigned.
    """
    present = state.source.users[user]
    previous = 0 if present is None else present.version
    return previous + 1 if scenario.clock_stands else max(previous, state.past.changes) + 1


def changed_once(past: Past, user: int) -> Past:
    return past._replace(changes=past.changes + 1, born=past.born | {user})


def written(source: Source, user: int, record: Record) -> Source:
    """Write a user's row and record the event, in one transaction."""
    position = source.position + 1
    entry = Entry(position, user, record)
    return source._replace(
        users=replaced(source.users, user, record), log=(*source.log, entry), position=position
    )


def with_heartbeat(state: State) -> tuple[State, Record]:
    """Record the next heartbeat; return its number and time too."""
    past = state.past._replace(beats=state.past.beats + 1)
    beat = Record(state.source.beat + 1, past.beats)
    position = state.source.position + 1
    source = state.source._replace(
        log=(*state.source.log, Entry(position, BEAT, beat)), beat=beat.version, position=position
    )
    return state._replace(source=source, past=past), beat
