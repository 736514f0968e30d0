"""Explore the protocol: no order of steps breaks a promise.

A failure prints the shortest trace in words. ``pytest -s`` prints how much was explored.
"""

import pytest

from tests.model.explore import Exploration, explore, walk
from tests.model.rules import Scenario
from tests.model.scenarios import DEEP, EVERYTHING, QUICK
from tests.model.words import size, story

SEED = 12

RUNS = 120

DEEP_RUNS = 1_000

STATES_MAX = 80_000
"""Of one deep exploration: some ten seconds."""


def _require_sound(scenario: Scenario, found: Exploration) -> None:
    """Print the size; fail with the story of a violation."""
    print(size(scenario.name, found))
    if found.violation is not None:
        pytest.fail(f"{found.violation.what}\n{story(found.violation)}", pytrace=False)


@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.name)
def test_every_order_of_steps_keeps_every_promise(scenario: Scenario) -> None:
    """Every state that can be reached is explored, and each settles with both sides equal."""
    found = explore(scenario)
    _require_sound(scenario, found)
    assert found.is_complete


def test_random_runs_keep_every_promise() -> None:
    """Two users, every fault, several of them in one run: longer runs than can be enumerated."""
    _require_sound(EVERYTHING, walk(EVERYTHING, seed=SEED, runs=RUNS))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", DEEP, ids=lambda scenario: scenario.name)
def test_a_deeper_exploration_keeps_every_promise(scenario: Scenario) -> None:
    """Pairs of faults, with an operator's repairs at any moment."""
    _require_sound(scenario, explore(scenario, states_max=STATES_MAX))


@pytest.mark.slow
def test_many_random_runs_keep_every_promise() -> None:
    """Likewise, with another seed."""
    _require_sound(EVERYTHING, walk(EVERYTHING, seed=SEED + 1, runs=DEEP_RUNS))
