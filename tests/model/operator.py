"""Steps of an operator: ``restored`` after the source was set back, and deleting again."""

from collections.abc import Iterator
from typing import Final

from tests.model.rules import Rules, Scenario
from tests.model.source import changed_once, deleted, written
from tests.model.state import Next, Record, State, Step

ADVANCE_BY: Final = 100
"""More heartbeats and positions than a run of the model has."""


def steps(scenario: Scenario, _: Rules, state: State) -> Iterator[Next]:
    """Take the remedies that the runbook names."""
    if scenario.asks_operator and state.past.set_back:
        yield Next(Step("restored"), restored(scenario, state))


def restored(scenario: Scenario, state: State) -> State:
    """Give every living user a version above the highest of the replica, and an event.

    Positions and heartbeat numbers move past all that were used. It is refused while a relay is
    active, so what that relay sent is confirmed or forgotten.
    """
    floor = max((record.version for record in state.replica.users if record), default=0)
    past = state.past._replace(set_back=False)
    source = state.source
    source = source._replace(beat=source.beat + ADVANCE_BY, position=source.position + ADVANCE_BY)
    for user, record in enumerate(source.users):
        if record is not None and not record.is_deleted:
            clock = 0 if scenario.clock_stands else past.changes
            version = max(floor, record.version, clock) + 1
            past = changed_once(past, user)
            source = written(source, user, Record(version, past.changes))
    return state._replace(source=source, past=past, unconfirmed=())


def erased_again(scenario: Scenario, rules: Rules, state: State) -> State:
    """Delete those again whose deletion the source has lost, as the last comparison named them."""
    for user in sorted(state.replica.undone):
        record = state.source.users[user]
        if record is not None and not record.is_deleted:
            state = deleted(scenario, rules, state, user)
    return state._replace(replica=state.replica._replace(undone=frozenset()))
