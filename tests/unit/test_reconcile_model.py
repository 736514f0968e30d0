"""Decisions of reconcile that need no database."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from replica.reconcile import model
from replica.reconcile.model import Kind, Reason, Verdict


def test_options_select_kinds_to_repair() -> None:
    for options, kinds in (
        ((False, False, False), set()),
        ((True, False, False), {"missing", "stale", "undeleted", "corrupt"}),
        ((False, True, False), {"ahead"}),
        ((False, False, True), {"orphan", "provisional_orphan"}),
        (
            (True, True, True),
            {"missing", "stale", "undeleted", "corrupt", "ahead", "orphan", "provisional_orphan"},
        ),
    ):
        repair, ahead, orphans = options
        assert model.repairable(repair=repair, ahead=ahead, orphans=orphans) == kinds, options


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.BACKWARDS}))
def test_automatic_repairs_are_limited_to_safe_kinds(reason: Reason) -> None:
    assert model.repaired_by_itself(reason) == {"missing", "stale", "undeleted"}


def test_digests_are_recomputed_unless_only_messages_were_lost() -> None:
    """Lost messages leave maintained digests right; every other run checks them."""
    assert {reason for reason in Reason if not model.recomputes(reason)} == {
        Reason.GAP,
        Reason.QUEUE_LOST,
    }


def test_nothing_is_repaired_after_heartbeats_ran_backwards() -> None:
    """The source was restored from a backup and may be older than the replica."""
    assert model.repaired_by_itself(Reason.BACKWARDS) == frozenset()


NEVER = {"is_empty": False, "suspicion": None, "compared_last": None, "seconds_since": None}
LATELY = {"is_empty": False, "suspicion": None, "compared_last": 5, "seconds_since": 10.0}


def test_the_reason_for_a_run() -> None:
    """First an empty replica, then a suspicion, then a schedule of 100 seconds."""
    for state, reason in (
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
    ):
        assert model.reason_to_run(**state, every_seconds=100.0) == reason, state


def test_a_comparison_in_the_future_does_not_count() -> None:
    """The clock was set back; waiting for it to catch up could delay the next run for long."""
    ahead = LATELY | {"seconds_since": -86_400.0}
    assert model.reason_to_run(**ahead, every_seconds=100.0) is Reason.SCHEDULE  # type: ignore[arg-type]


def test_schedule_0_disables_scheduled_runs() -> None:
    late = LATELY | {"seconds_since": 1e9}
    assert model.reason_to_run(**late, every_seconds=0) is None  # type: ignore[arg-type]
    assert model.reason_to_run(**NEVER, every_seconds=0) is Reason.EMPTY  # type: ignore[arg-type]


@pytest.mark.parametrize(("orphans", "holds"), [(0, False), (10, False), (11, True)])
def test_the_deletion_limit_is_inclusive(orphans: int, holds: bool) -> None:
    """The message exists only above it."""
    found = model.brake(orphans, 10, command="blog-service")
    assert (found is not None) is holds
    assert found is None or "blog-service reconcile --orphans" in found


def a_comparison(tally: model.Tally) -> model.Comparison:
    return model.Comparison(source=uuid4(), source_at=datetime.now(UTC), users=1, tally=tally)


def test_the_verdict_counts_unrepaired_differences() -> None:
    for differing, repaired, in_flight, verdict in (
        *((0, 0, 0, Verdict.IN_STEP), (0, 0, 9, Verdict.IN_STEP), (3, 3, 0, Verdict.IN_STEP)),
        *((3, 2, 0, Verdict.DRIFT), (3, 0, 9, Verdict.DRIFT)),
    ):
        tally = model.Tally(in_flight=in_flight)
        tally.add(Kind.MISSING, differing=differing, repaired=repaired)
        assert a_comparison(tally).verdict is verdict, differing


def test_findings_are_limited_per_kind() -> None:
    """A million missing users do not hide one undone deletion."""
    tally = model.Tally()
    for _ in range(model.FINDINGS_MAX + 1):
        tally.list(model.Finding(uuid4(), Kind.MISSING, 1, None, False))
    tally.list(model.Finding(uuid4(), Kind.UNDONE_DELETION, 1, 2, False))
    assert {kind: len(found) for kind, found in tally.listed.items()} == {
        Kind.MISSING: model.FINDINGS_MAX,
        Kind.UNDONE_DELETION: 1,
    }
