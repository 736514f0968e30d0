"""What a run found, for people."""

from typing import Any, Final

from replica.reconcile.model import ERASE_AGAIN, OPTIONS, Kind, Verdict
from replica.reconcile.runs import Run
from service_kit.process.times import time_text

SHOWN_MAX: Final = 20
"""Users that the table names; ``--json`` has more, and ``--ids`` all of one kind."""

_MEANING: Final = {
    Kind.MISSING: "at the source, not here",
    Kind.STALE: "an older version here",
    Kind.UNDELETED: "deleted at the source, alive here",
    Kind.CORRUPT: "the same version, other content",
    Kind.AHEAD: "a newer version here than at the source",
    Kind.ORPHAN: "here, never at the source",
    Kind.UNDONE_DELETION: "deleted here, alive at the source",
    Kind.PROVISIONAL_ORPHAN: "an id without a user, never at the source",
}


def report(run: Run) -> str:
    """Some lines: the verdict first, then each kind with its remedy, then the first users."""
    lines = [_headline(run)]
    if run.explanation:
        lines.append(run.explanation if run.explanation.endswith("?") else f"{run.explanation}.")
    differing, repaired = run.differing or {}, run.repaired or {}
    if differing:
        lines += ["", f"{'kind':<19}{'differ':>10}{'repaired':>10}  {'what it is':<42}remedy"]
    for name, count in differing.items():
        kind = Kind(name)
        done = repaired.get(name, 0)
        remedy = "" if done == count else OPTIONS.get(kind, ERASE_AGAIN)
        lines.append(f"{name:<19}{count:>10,}{done:>10,}  {_MEANING[kind]:<42}{remedy}".rstrip())
    findings = run.findings or []
    if findings:
        lines += ["", f"{'user':<38}{'kind':<20}{'source':>17}{'replica':>18}"]
        lines += [_finding(finding) for finding in findings[:SHOWN_MAX]]
    if len(findings) > SHOWN_MAX:
        lines.append(
            f"… and {sum(differing.values()) - SHOWN_MAX:,} more; --ids KIND prints all of a kind"
        )
    return "\n".join(lines)


def _headline(run: Run) -> str:
    if run.verdict is Verdict.COULD_NOT_COMPARE:
        return "could not compare: there is no verdict"
    differing = sum((run.differing or {}).values())
    repaired = sum((run.repaired or {}).values())
    as_of = f"as of {time_text(run.source_at)}" if run.source_at else ""
    flight = f", {run.in_flight:,} in flight" if run.in_flight else ""
    said = "in step" if run.verdict is Verdict.IN_STEP else "drift"
    done = f", {repaired:,} repaired" if repaired else ""
    named = "" if run.users is None else f"of {len(run.users):,} named "
    return f"{said}: {run.compared:,} {named}users, {differing:,} differ{done}{flight}, {as_of}"


def _finding(finding: dict[str, Any]) -> str:
    source = finding["source_version"] or "-"
    replica = "-" if finding["replica_version"] is None else finding["replica_version"]
    done = "  repaired" if finding["repaired"] else ""
    return f"{finding['user_id']:<38}{finding['kind']:<20}{source:>17}{replica:>18}{done}"
