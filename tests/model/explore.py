"""Explore a scenario: every order of steps up to a depth, or long runs at random.

The exhaustive search goes breadth first and visits each state once. So the first violation that it
finds has a shortest trace. A trace of a random run is shortened afterwards.
"""

import gc
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from tests.model.invariants import broken
from tests.model.rules import PRODUCT, Rules, Scenario, initial
from tests.model.settle import Settler
from tests.model.state import Next, State, Step
from tests.model.transitions import successors

FAULTS_SHARE: Final = 0.3
"""Of the faults that a scenario allows, each random run has this share. If every run had all, the
promises that hold only without a loss would hardly ever be tested."""


@dataclass(frozen=True)
class Violation:
    """A broken promise, and the steps to it; ``settling`` begins when all faults have ended."""

    what: str
    steps: list[Step]
    settling: list[Step]


@dataclass(frozen=True)
class Exploration:
    """What was explored: distinct states, steps tried, the depth, the seconds, and the finding.

    ``is_complete``: no state was left to explore.
    """

    states: int
    steps: int
    depth: int
    seconds: float
    is_complete: bool
    violation: Violation | None


def explore(
    scenario: Scenario,
    rules: Rules = PRODUCT,
    *,
    depth_max: int = 1_000,
    states_max: int = 10_000_000,
) -> Exploration:
    """Visit every state within ``depth_max`` steps, until a violation or ``states_max``.

    Parameters:
        scenario: what may happen.
        rules: how the system works.
        depth_max: the longest trace.
        states_max: the number of states at which the search ends.
    """
    with _uncollected():
        return _explored(scenario, rules, depth_max, states_max)


def _explored(scenario: Scenario, rules: Rules, depth_max: int, states_max: int) -> Exploration:
    began = time.process_time()
    settler = Settler(scenario, rules)
    start = initial(scenario)
    parents: dict[State, tuple[State, Step] | None] = {start: None}
    level, depth, tried = [start], 0, 0
    violation: Violation | None = None
    is_full = False
    while level and not (violation or is_full) and depth < depth_max:
        depth += 1
        further: list[State] = []
        for state in level:
            for following in successors(scenario, rules, state):
                tried += 1
                step, after, _ = following
                if what := broken(rules, state, following):
                    violation = Violation(what, [*_trace(parents, state), step], [])
                elif after not in parents:
                    parents[after] = (state, step)
                    further.append(after)
                    if failure := settler.failure(after):
                        violation = Violation(failure[0], _trace(parents, after), failure[1])
                if violation:
                    break
            is_full = len(parents) >= states_max
            if violation or is_full:
                break
        level = further
    seconds = time.process_time() - began
    is_complete = not (level or violation or is_full)
    return Exploration(len(parents), tried, depth, seconds, is_complete, violation)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Suspend the collection of cycles: states have none, and looking for them costs a third."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _trace(parents: dict[State, tuple[State, Step] | None], state: State) -> list[Step]:
    steps = []
    while (before := parents[state]) is not None:
        state, step = before
        steps.append(step)
    return steps[::-1]


def walk(
    scenario: Scenario, rules: Rules = PRODUCT, *, seed: int, runs: int, steps_max: int = 200
) -> Exploration:
    """Make ``runs`` at random, each until nothing can happen or ``steps_max``, then settle.

    Parameters:
        scenario: what may happen; its budgets may be far larger than an exhaustive search allows.
        rules: how the system works.
        seed: makes the runs repeatable.
        runs: their number.
        steps_max: the longest run.
    """
    with _uncollected():
        return _walked(scenario, rules, random.Random(seed), runs, steps_max)


def _walked(
    scenario: Scenario, rules: Rules, chance: random.Random, runs: int, steps_max: int
) -> Exploration:
    began = time.process_time()
    settler = Settler(scenario, rules)
    seen: set[State] = set()
    tried = depth = 0
    violation: Violation | None = None
    for _ in range(runs):
        state = initial(scenario)
        taken: list[Step] = []
        faults = [fault for fault in sorted(scenario.faults) if chance.random() < FAULTS_SHARE]
        some = replace(scenario, faults=frozenset(faults))
        while violation is None and len(taken) < steps_max:
            possible = list(successors(some, rules, state))
            if not possible:
                break
            following = _drawn(chance, possible)
            tried += 1
            taken.append(following.step)
            violation = _violation(settler, rules, state, following, taken)
            state = following.state
            seen.add(state)
        depth = max(depth, len(taken))
        if violation is not None:
            violation = shortened(scenario, rules, violation)
            break
    seconds = time.process_time() - began
    return Exploration(len(seen), tried, depth, seconds, False, violation)


def _drawn(chance: random.Random, possible: list[Next]) -> Next:
    name = chance.choice(sorted({each.step.name for each in possible}))
    return chance.choice([each for each in possible if each.step.name == name])


def _violation(
    settler: Settler, rules: Rules, state: State, following: Next, taken: list[Step]
) -> Violation | None:
    what = broken(rules, state, following)
    if what is not None:
        return Violation(what, list(taken), [])
    failure = settler.failure(following.state)
    return None if failure is None else Violation(failure[0], list(taken), failure[1])


def shortened(scenario: Scenario, rules: Rules, violation: Violation) -> Violation:
    """Leave out every step without which the trace still leads to a violation."""
    best, place = violation, 0
    while place < len(best.steps):
        shorter = replay(scenario, rules, best.steps[:place] + best.steps[place + 1 :])
        if shorter is not None:
            best = shorter
        else:
            place += 1
    return best


def _like(step: Step, possible: list[Next]) -> Next | None:
    """Return the same step, or one that differs in details alone, such as a version."""
    for each in possible:
        if each.step == step:
            return each
    return next((each for each in possible if each.step[:2] == step[:2]), None)


def replay(scenario: Scenario, rules: Rules, steps: list[Step]) -> Violation | None:
    """Take ``steps`` in order, leaving out what cannot happen; return what they break."""
    settler = Settler(scenario, rules)
    state, taken = initial(scenario), []
    for step in steps:
        following = _like(step, list(successors(scenario, rules, state)))
        if following is None:
            continue
        taken.append(step)
        violation = _violation(settler, rules, state, following, taken)
        if violation is not None:
            return violation
        state = following.state
    return None
