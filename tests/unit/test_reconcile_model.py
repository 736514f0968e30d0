"""What reconcile decides without a database."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from replica.reconcile.model import (
    FINDINGS_MAX,
    Comparison,
    Finding,
    Kind,
    Reason,
    Tally,
    Verdict,
    brake,
    reason_to_run,
    repairable,
    repaired_by_itself,
)


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ((False, False, False), set()),
        ((True, False, False), {"missing", "stale", "undeleted", "corrupt"}),
        ((False, True, False), {"ahead"}),
        ((False, False, True), {"orphan", "provisional_orphan"}),
        (
            (True, True, True),
            {"missing", "stale", "undeleted", "corrupt", "ahead", "orphan", "provisional_orphan"},
        ),
    ],
)
def test_options_choose_kinds(options: tuple[bool, bool, bool], kinds: set[str]) -> None:
    """As the command's help says; an undone deletion is in none of them."""
    repair, ahead, orphans = options

    assert repairable(repair=repair, ahead=ahead, orphans=orphans) == kinds


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.BACKWARDS}))
def test_by_itself_only_what_can_do_no_harm(reason: Reason) -> None:
    """What the source has newer, and nothing else."""
    assert repaired_by_itself(reason) == {"missing", "stale", "undeleted"}


def test_nothing_is_repaired_after_numbers_ran_backwards() -> None:
    """The source was set back: what it says may be the past."""
    assert repaired_by_itself(Reason.BACKWARDS) == frozenset()


NEVER = {"is_empty": False, "suspicion": None, "compared_last": None, "seconds_since": None}
LATELY = {"is_empty": False, "suspicion": None, "compared_last": 5, "seconds_since": 10.0}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (NEVER, Reason.EMPTY),
        (LATELY, None),
        (LATELY | {"is_empty": True}, Reason.EMPTY),
        (LATELY | {"is_empty": True, "compared_last": 0}, None),
        (LATELY | {"suspicion": "gap"}, Reason.GAP),
        (LATELY | {"suspicion": "backwards"}, Reason.BACKWARDS),
        (LATELY | {"suspicion": "queue_lost"}, Reason.QUEUE_LOST),
        (LATELY | {"seconds_since": 100.0}, Reason.SCHEDULE),
        (LATELY | {"seconds_since": 99.9}, None),
        (LATELY | {"seconds_since": 100.0, "suspicion": "gap"}, Reason.GAP),
    ],
)
def test_why_a_run_is_made(state: dict[str, object], reason: Reason | None) -> None:
    """Never compared or emptied, then a suspicion, then the schedule of a hundred seconds."""
    assert reason_to_run(**state, every_seconds=100.0) == reason  # type: ignore[arg-type]


def test_a_comparison_of_the_future_is_none() -> None:
    """The clock was set back, and a proof may be due long before it has caught up."""
    ahead = LATELY | {"seconds_since": -86_400.0}

    assert reason_to_run(**ahead, every_seconds=100.0) is Reason.SCHEDULE  # type: ignore[arg-type]


def test_no_schedule_is_never() -> None:
    """0 switches it off, and nothing else."""
    late = LATELY | {"seconds_since": 1e9}

    assert reason_to_run(**late, every_seconds=0) is None  # type: ignore[arg-type]
    assert reason_to_run(**NEVER, every_seconds=0) is Reason.EMPTY  # type: ignore[arg-type]


@pytest.mark.parametrize(("orphans", "holds"), [(0, False), (10, False), (11, True)])
def test_the_brake_holds_beyond_the_limit(orphans: int, holds: bool) -> None:
    """As many as allowed is allowed."""
    assert (brake(orphans, 10) is not None) is holds


def a_comparison(tally: Tally) -> Comparison:
    """One with that tally."""
    return Comparison(source=uuid4(), source_at=datetime.now(UTC), users=1, tally=tally)


@pytest.mark.parametrize(
    ("differing", "repaired", "in_flight", "verdict"),
    [
        (0, 0, 0, Verdict.IN_STEP),
        (0, 0, 9, Verdict.IN_STEP),
        (3, 3, 0, Verdict.IN_STEP),
        (3, 2, 0, Verdict.DRIFT),
        (3, 0, 9, Verdict.DRIFT),
    ],
)
def test_the_verdict_is_about_what_is_left(
    differing: int, repaired: int, in_flight: int, verdict: Verdict
) -> None:
    """What was repaired differs no more, and what is in flight is no drift."""
    tally = Tally(in_flight=in_flight)
    tally.add(Kind.MISSING, differing=differing, repaired=repaired)

    assert a_comparison(tally).verdict is verdict


def test_findings_of_a_kind_are_limited() -> None:
    """A million missing users do not hide one undone deletion."""
    tally = Tally()
    for _ in range(FINDINGS_MAX + 1):
        tally.list(Finding(uuid4(), Kind.MISSING, 1, None, False))
    tally.list(Finding(uuid4(), Kind.UNDONE_DELETION, 1, 2, False))

    assert {kind: len(found) for kind, found in tally.listed.items()} == {
        Kind.MISSING: FINDINGS_MAX,
        Kind.UNDONE_DELETION: 1,
    }
