"""Turn each decision of the product round: the explorer finds why it was made.

So the model is not blind. A failure of one of these tests says that the model, not the product, has
lost what it is for.
"""

import pytest

from tests.model.explore import explore, replay, walk
from tests.model.rules import Fault, Rules, Scenario
from tests.model.scenarios import EVERYTHING, UNSOUND, Reading
from tests.model.state import Left
from tests.model.words import story

STATES_MAX = 20_000


@pytest.mark.parametrize("reading", UNSOUND.values(), ids=UNSOUND.keys())
def test_an_unsound_reading_is_found(reading: Reading) -> None:
    """Breadth first, so the trace is a shortest one; the product's rules survive the same steps."""
    found = explore(reading.scenario, reading.rules, states_max=STATES_MAX)
    assert found.violation is not None
    print(story(found.violation))
    assert found.violation.what == reading.finding
    assert replay(reading.scenario, Rules(), found.violation.steps) is None


def test_digests_that_are_added_find_a_change_that_counts_twice() -> None:
    """With XOR it cancels; a sum shows it, and the comparison names the user."""
    scenario = UNSOUND["digests by XOR, with a change that counts twice"].scenario
    found = explore(scenario, Rules(counts_twice=True))
    assert (found.is_complete, found.violation) == (True, None)


def test_a_random_run_is_shortened() -> None:
    """No step of the trace that a random run ends with can be left out."""
    rules = Rules(marks_before_confirm=True)

    found = walk(EVERYTHING, rules, seed=1, runs=200)

    assert found.violation is not None
    steps = found.violation.steps
    assert len(steps) <= 4
    for place in range(len(steps)):
        assert replay(EVERYTHING, rules, steps[:place] + steps[place + 1 :]) is None


def test_versions_that_are_used_twice_defeat_a_repair() -> None:
    """A limit of the product: why versions come from the clock, and why that may not be set back.

    The source fails over, and its clock with it, so that it assigns a version again. A comparison
    that read the lost change before repairs the row of the same version with it. The next
    comparison finds that, so nothing is wrong for long.
    """
    scenario = Scenario(
        "a clock that stands",
        Left(changes=2, beats=0, faults=1, comparisons=1),
        frozenset({Fault.SOURCE_FAILOVER}),
        asks_operator=True,
        clock_stands=True,
    )

    found = explore(scenario, states_max=STATES_MAX)

    assert found.violation is not None
    assert found.violation.what == "a repair undid Ada's state, which is the source's"
