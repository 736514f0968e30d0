"""Join all steps: what may happen next in a state."""

from collections.abc import Iterator

from tests.model import comparison, consumer, digests, faults, operator, relay, source
from tests.model.rules import Rules, Scenario
from tests.model.state import Next, State


def successors(scenario: Scenario, rules: Rules, state: State) -> Iterator[Next]:
    yield from source.steps(scenario, rules, state)
    yield from relay.steps(scenario, rules, state)
    yield from consumer.steps(scenario, rules, state)
    yield from comparison.steps(scenario, rules, state)
    yield from faults.steps(scenario, rules, state)
    yield from operator.steps(scenario, rules, state)
    yield from digests.steps(rules, state)
