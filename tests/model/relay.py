"""Steps of the relay: send a wave, and mark it once it is confirmed."""

from collections.abc import Iterator

from tests.model import product
from tests.model.rules import Fault, Rules, Scenario
from tests.model.state import BEAT, Entry, Message, Next, State, Step, one_fault


def steps(scenario: Scenario, rules: Rules, state: State) -> Iterator[Next]:
    """Send, confirm; with the budget of faults: a refused event, and a crash of the relay."""
    faults = scenario.faults if state.left.faults else frozenset()
    if state.unconfirmed:
        yield Next(Step("confirmed", detail=state.unconfirmed), confirmed(scenario, state))
        if Fault.RELAY_CRASH in faults:
            yield Next(Step("relay crashed"), one_fault(state._replace(unconfirmed=())))
        return
    wave = next_wave(rules, state)
    if not wave:
        return
    if rules.marks_before_confirm:
        marked = _marked(scenario, state, {entry.position for entry in wave})
        yield Next(Step("marked, then sent", detail=wave), _queued(marked, wave))
        if Fault.RELAY_CRASH in faults:
            yield Next(Step("marked, then crashed", detail=wave), one_fault(marked))
        return
    yield Next(Step("sent", detail=wave), sent(state, wave))
    if scenario.has_urgent:
        yield from _urgent(scenario, state)
    if Fault.REFUSAL in faults:
        for refused in wave:
            others = tuple(entry for entry in wave if entry != refused)
            after = one_fault(sent(state, others))
            yield Next(Step("refused", refused.user, (refused, others)), after)


def next_wave(rules: Rules, state: State) -> tuple[Entry, ...]:
    """Return the events that the relay sends next: at most one per user."""
    head = _unpublished(state)
    if rules.sends_all_at_once:
        return head
    return product.first_wave(head) if head else ()


def _urgent(scenario: Scenario, state: State) -> Iterator[Next]:
    """Send a wave in which one event is urgent, whichever it is."""
    head = _unpublished(state)
    for entry in head:
        if entry.user == BEAT:
            continue
        wave = product.first_wave(head, frozenset({entry.position}))
        after = sent(state, wave)
        if scenario.has_urgent_queue:
            after = after._replace(replays=(*after.replays, message_of(entry)))
        yield Next(Step("sent", detail=wave), after)


def sent(state: State, wave: tuple[Entry, ...]) -> State:
    positions = tuple(entry.position for entry in wave)
    return _queued(state, wave)._replace(unconfirmed=positions)


def _unpublished(state: State) -> tuple[Entry, ...]:
    return tuple(
        entry for entry in state.source.log if not entry.is_published and product.is_sent(entry)
    )


def message_of(entry: Entry) -> Message:
    return Message(entry.user, entry.record, 0 if entry.user == BEAT else entry.position)


def _queued(state: State, wave: tuple[Entry, ...]) -> State:
    return state._replace(queue=(*state.queue, *map(message_of, wave)))


def confirmed(scenario: Scenario, state: State) -> State:
    return _marked(scenario, state, set(state.unconfirmed))._replace(unconfirmed=())


def _marked(scenario: Scenario, state: State, positions: set[int]) -> State:
    """Mark events as published; an erased one is marked without having been sent."""
    marked = (
        entry._replace(is_published=True)
        if entry.position in positions or not product.is_sent(entry)
        else entry
        for entry in state.source.log
    )
    log = tuple(
        entry
        for entry in marked
        if not entry.is_published or (scenario.keeps_log and entry.user != BEAT)
    )
    return state._replace(source=state.source._replace(log=log))
