"""Schedules of faults: how they are drawn and watched, and five of them carried out."""

from pathlib import Path
from uuid import UUID

import pytest

from tests.chaos.schedule import Kind, drawn
from tests.chaos.watch import UNNAMED_SECONDS_MAX, Watch
from tests.support.programs import python

SEEDS = (6, 9, 23, 25, 26)
"""With failovers of both databases, a broker that is killed, and deletions at the broker."""

ADA = UUID(int=1)


def test_a_schedule_is_a_function_of_its_seed() -> None:
    """Nearly every seed has another one."""
    schedules = [drawn(seed) for seed in range(200)]
    assert schedules == [drawn(seed) for seed in range(200)]
    assert len({schedule.faults for schedule in schedules}) == len(schedules)
    assert {fault.kind for schedule in schedules for fault in schedule.faults} == set(Kind)


@pytest.mark.parametrize(
    ("samples", "is_found"),
    [
        ([True] * 9, True),
        ([True] * 4 + [False] + [True] * 4, False),
        ([True] * 4 + ["named"] + [True] * 4, False),
        ([True] * 4 + ["all"] + [True] * 4, False),
    ],
    ids=["never named", "equal meanwhile", "named meanwhile", "known trouble meanwhile"],
)
def test_a_difference_without_a_name_is_found(samples: list[object], is_found: bool) -> None:
    """It may exist for a while, as an event on its way does."""
    watch = Watch()
    for number, sample in enumerate(samples):
        at = number * UNNAMED_SECONDS_MAX / (len(samples) - 2)
        named = None if sample == "all" else {ADA} if sample == "named" else set()
        watch.note(at, {ADA} if sample else set(), named)
    assert bool(watch.unnamed) is is_found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_schedules_keep_every_promise() -> None:
    """The model accepts each run; nothing is lost, and no difference exists without a name."""
    seeds = [str(seed) for seed in SEEDS]
    words = ("-W", "ignore", "-m", "tests.chaos", "--seed", *seeds)
    done = python(*words, cwd=Path(__file__).parents[2], timeout=None)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
