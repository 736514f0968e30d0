"""What a proof says about the replica, how old it may get, and when the next is due. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from replica.reconcile.model import Kind, Tally, remedy

HEARTBEATS_MAX: Final = 4
"""A proof that is older than so many heartbeats raises the alarm: one proof may fail, not three."""

HEARTBEATS_UNTIL_SILENT: Final = 3
"""Heartbeats in the setting ``heartbeat_seconds_max``."""

NAMED_MAX: Final = 20
"""Users that the status names; the run of the proof has more."""

DRIFT: Final = "drift"
"""Why readiness is degraded: users differ, and an operator has to decide what is right."""

NOT_PROVED: Final = "not_proved"
"""Why readiness is degraded: the last proof is too old."""

OFF: Final = "proofs are off"
NONE_YET: Final = "no heartbeat has been compared yet"


class State(StrEnum):
    """What is known about the replica."""

    EQUAL = "equal"
    DIFFERS = "differs"
    UNKNOWN = "unknown"
    """There is no proof, or it is too old to say anything about the present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """The last proof that came to a verdict.

    Parameters:
        source: the source's identity.
        heartbeat: the number of the last heartbeat that was applied before.
        users: living users of the source.
        tombstones: deleted ones.
        in_flight: users whose events were on their way.
        differing: users who differ and were not repaired, by kind.
        findings: some of them, by kind, id and versions.
        run_id: the run that has more of them; None if nothing differs.
    """

    source: UUID
    heartbeat: int
    users: int
    tombstones: int
    in_flight: int
    differing: Mapping[str, int]
    findings: Sequence[Mapping[str, Any]]
    run_id: UUID | None

    @property
    def rows(self) -> int:
        """All users of the source, deleted ones too: as many as a comparison counts."""
        return self.users + self.tombstones


def named(tally: Tally) -> list[dict[str, Any]]:
    """Some of the users who still differ, in an order that tells the same users as the same."""
    left = [each for kind in Kind for each in tally.listed.get(kind, ()) if not each.repaired]
    left.sort(key=lambda each: (list(Kind).index(each.kind), each.user_id))
    return [
        {
            "user_id": str(each.user_id),
            "kind": each.kind.value,
            "source_version": each.source_version,
            "replica_version": each.replica_version,
        }
        for each in left[:NAMED_MAX]
    ]


def says_the_same(one: Proved | None, other: Proved) -> bool:
    """Whether two proofs, one after the other, name the same users; at first nobody is named."""
    if one is None:
        return not other.differing
    return (one.differing, one.findings) == (other.differing, other.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentProof:
    """What is stored about proofs: the last verdict, and the last attempt since then.

    Ages are in seconds, by the clock of the replica's database.

    Parameters:
        is_on: whether a consumer makes proofs.
        age_seconds: since the last verdict; since proofs were turned on, if there is none.
        tried_seconds: since the last attempt began; None before the first.
        covered: the last heartbeat for which no other proof is needed; None before the first.
        proved: the last verdict; None before the first.
        proved_at: when.
        trouble: why attempts since then came to no verdict; None if none failed.
    """

    is_on: bool
    age_seconds: float | None
    tried_seconds: float | None
    covered: int | None
    proved: Proved | None
    proved_at: datetime | None
    trouble: str | None


def summary(current: CurrentProof, heartbeat_seconds_max: float, *, command: str) -> dict[str, Any]:
    """The figures of the status; parameters as of ``headline``."""
    proved = current.proved
    differing = {} if proved is None else dict(proved.differing)
    return {
        "state": state(current, heartbeat_seconds_max),
        "text": headline(current, heartbeat_seconds_max, command=command),
        "age_seconds": None if proved is None else current.age_seconds,
        "users": None if proved is None else proved.rows,
        "tombstones": None if proved is None else proved.tombstones,
        "differing": None if proved is None else sum(differing.values()),
        "kinds": differing,
        "findings": [] if proved is None else list(proved.findings),
        "in_flight": None if proved is None else proved.in_flight,
        "heartbeat": None if proved is None else proved.heartbeat,
        "run_id": None if proved is None else proved.run_id,
        "trouble": current.trouble,
    }


def lines_of(summary: Mapping[str, Any]) -> list[str]:
    """What the command ``status`` shows first: the line of a ``summary``, and who differs."""
    is_known = summary["state"] is State.DIFFERS
    return [summary["text"], *(map(_finding_line, summary["findings"]) if is_known else ())]


def _finding_line(finding: Mapping[str, Any]) -> str:
    source, replica = (
        "-" if finding[side] is None else finding[side]
        for side in ("source_version", "replica_version")
    )
    return f"  {finding['user_id']}  {finding['kind']}  source {source}, replica {replica}"


def interval_seconds(heartbeat_seconds_max: float) -> float:
    """How often a heartbeat arrives, from the age at which the source counts as silent."""
    return heartbeat_seconds_max / HEARTBEATS_UNTIL_SILENT


def age_max_seconds(heartbeat_seconds_max: float) -> float:
    """From which age on a proof is too old."""
    return HEARTBEATS_MAX * interval_seconds(heartbeat_seconds_max)


def is_overdue(current: CurrentProof, heartbeat_seconds_max: float) -> bool:
    """Whether the last proof is too old, although proofs are on."""
    age = current.age_seconds
    return current.is_on and age is not None and age > age_max_seconds(heartbeat_seconds_max)


def is_due(
    current: CurrentProof, *, last_heartbeat: int | None, heartbeat_seconds_max: float
) -> bool:
    """Whether the next proof is to be made now.

    One is due after each heartbeat. Others may ask the source for heartbeats out of turn, so proofs
    keep half the usual distance; the one that waits is then made for the latest heartbeat.

    Parameters:
        current: what is stored about proofs.
        last_heartbeat: the number of the last one that was applied; None before the first.
        heartbeat_seconds_max: the setting.
    """
    if last_heartbeat is None or last_heartbeat == current.covered:
        return False
    tried = current.tried_seconds
    # A try in the future was made while the clock was ahead.
    return tried is None or not 0 <= tried < interval_seconds(heartbeat_seconds_max) / 2


def state(current: CurrentProof, heartbeat_seconds_max: float) -> State:
    """What is known about the replica now."""
    if current.proved is None or not current.is_on or is_overdue(current, heartbeat_seconds_max):
        return State.UNKNOWN
    return State.DIFFERS if current.proved.differing else State.EQUAL


def why_degraded(current: CurrentProof, heartbeat_seconds_max: float) -> str | None:
    """Why proofs call the replica degraded; None if they do not, or are off."""
    found = state(current, heartbeat_seconds_max)
    if found is State.DIFFERS:
        return DRIFT
    return NOT_PROVED if is_overdue(current, heartbeat_seconds_max) else None


def headline(current: CurrentProof, heartbeat_seconds_max: float, *, command: str) -> str:
    """The first line of the status: what is proved, or why nothing is.

    Parameters:
        current: what is stored about proofs.
        heartbeat_seconds_max: the setting.
        command: the service's command, for remedies.
    """
    proved, age = current.proved, current.age_seconds or 0.0
    if not current.is_on:
        return f"not proved: {OFF}"
    found = state(current, heartbeat_seconds_max)
    if found is State.UNKNOWN:
        why = current.trouble or (NONE_YET if proved is None else "no proof was made since")
        since = f" for {age:,.0f} s" if is_overdue(current, heartbeat_seconds_max) else " yet"
        return f"not proved{since}: {why}"
    assert proved is not None  # otherwise the state is unknown
    differing = sum(proved.differing.values())
    line = f"proved {age:,.0f} s ago: {proved.rows:,} users, {differing:,}"
    if found is State.EQUAL:
        return f"{line} differ"
    each = "; ".join(
        f"{count:,} {kind}: {remedy(Kind(kind), command)}"
        for kind, count in proved.differing.items()
    )
    return f"{line} differ ({each})"
