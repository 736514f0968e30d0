"""What a proof says, when the next is due, and from when on the last is too old."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from replica.proof.model import (
    DRIFT,
    HEARTBEATS_MAX,
    NAMED_MAX,
    NOT_PROVED,
    CurrentProof,
    Proved,
    State,
    age_max_seconds,
    headline,
    is_due,
    lines_of,
    named,
    says_the_same,
    state,
    summary,
    why_degraded,
)
from replica.reconcile.model import Finding, Kind, Tally
from tests.support.builders import NOON

HEARTBEAT_SECONDS_MAX = 45.0

EQUAL = Proved(
    source=UUID(int=1),
    heartbeat=7,
    users=1_393,
    tombstones=4,
    in_flight=0,
    differing={},
    findings=[],
    run_id=None,
)
FINDING = {"user_id": "u", "kind": "orphan", "source_version": None, "replica_version": 7}
DIFFERS = replace(
    EQUAL, differing={"orphan": 2, "undone_deletion": 1}, findings=[FINDING], run_id=UUID(int=2)
)
CURRENT = CurrentProof(
    is_on=True,
    age_seconds=9.4,
    tried_seconds=9.5,
    covered=7,
    proved=EQUAL,
    proved_at=NOON,
    trouble=None,
)
NONE_YET = replace(CURRENT, proved=None, proved_at=None, covered=None, tried_seconds=None)
AWAY: dict[str, Any] = {"trouble": "the source is away"}
OLD: dict[str, Any] = {"age_seconds": age_max_seconds(HEARTBEAT_SECONDS_MAX) + 1}


def test_the_first_line_says_what_is_proved() -> None:
    """Or why nothing is: a proof that is too old says nothing about the present."""
    for current, expected, degraded, line in (
        (CURRENT, State.EQUAL, None, "proved 9 s ago: 1,397 users, 0 differ"),
        (
            replace(CURRENT, proved=DIFFERS),
            State.DIFFERS,
            DRIFT,
            "proved 9 s ago: 1,397 users, 3 differ (2 orphan: blog reconcile --orphans;"
            " 1 undone_deletion: auth-service users erase ID …)",
        ),
        (NONE_YET, State.UNKNOWN, None, "not proved yet: no heartbeat has been compared yet"),
        (replace(NONE_YET, **AWAY), State.UNKNOWN, None, "not proved yet: the source is away"),
        *(
            (current, State.UNKNOWN, NOT_PROVED, f"not proved for 61 s: {why}")
            for current, why in (
                (replace(NONE_YET, **OLD), "no heartbeat has been compared yet"),
                (replace(CURRENT, **OLD, **AWAY), "the source is away"),
                (replace(CURRENT, proved=DIFFERS, **OLD), "no proof was made since"),
            )
        ),
        (replace(CURRENT, is_on=False, **OLD), State.UNKNOWN, None, "not proved: proofs are off"),
    ):
        assert state(current, HEARTBEAT_SECONDS_MAX) is expected, current
        assert why_degraded(current, HEARTBEAT_SECONDS_MAX) == degraded, current
        assert headline(current, HEARTBEAT_SECONDS_MAX, command="blog") == line, current


def test_the_proof_may_be_four_heartbeats_old() -> None:
    """The setting ``heartbeat_seconds_max`` is three of them."""
    assert HEARTBEATS_MAX == 4
    assert age_max_seconds(HEARTBEAT_SECONDS_MAX) == 60.0


def test_a_proof_is_due_after_each_heartbeat() -> None:
    """Others may request heartbeats at any time; proofs keep half the usual distance."""
    for current, heartbeat, expected in (
        *((NONE_YET, None, False), (NONE_YET, 1, True), (CURRENT, 7, False), (CURRENT, 8, True)),
        (replace(CURRENT, tried_seconds=7.4), 8, False),
        (replace(CURRENT, tried_seconds=7.6), 8, True),
        (CURRENT, 3, True),
        (replace(CURRENT, tried_seconds=-100.0), 8, True),
    ):
        due = is_due(current, last_heartbeat=heartbeat, heartbeat_seconds_max=HEARTBEAT_SECONDS_MAX)
        assert due is expected, current


def test_users_who_still_differ_are_named_in_a_fixed_order() -> None:
    """The repaired ones are not; two proofs of the same users say the same."""
    one, other = Tally(), Tally()
    orphans = [Finding(UUID(int=n), Kind.ORPHAN, None, n, False) for n in range(1, 40)]
    corrupt = Finding(UUID(int=99), Kind.CORRUPT, 5, 5, False)
    missing = Finding(UUID(int=98), Kind.MISSING, 5, None, True)
    for finding in (*orphans, corrupt, missing):
        one.list(finding)
    for finding in (corrupt, *reversed(orphans)):
        other.list(finding)

    found = named(one)
    assert found == named(other)
    assert len(found) == NAMED_MAX
    assert [each["kind"] for each in found[:2]] == ["corrupt", "orphan"]
    assert found[0]["user_id"] == str(corrupt.user_id)
    assert says_the_same(replace(DIFFERS, findings=found), replace(DIFFERS, findings=named(other)))
    assert not says_the_same(DIFFERS, EQUAL)
    assert not says_the_same(None, DIFFERS)
    assert says_the_same(None, EQUAL)


def test_the_status_names_users_only_while_they_are_known_to_differ() -> None:
    now = summary(replace(CURRENT, proved=DIFFERS), HEARTBEAT_SECONDS_MAX, command="blog")
    late = summary(replace(CURRENT, proved=DIFFERS, **OLD), HEARTBEAT_SECONDS_MAX, command="blog")
    assert lines_of(now) == [now["text"], "  u  orphan  source -, replica 7"]
    assert lines_of(late) == [late["text"]]
    assert (now["state"], now["users"], now["differing"]) == ("differs", 1_397, 3)
    assert now["kinds"] == DIFFERS.differing
