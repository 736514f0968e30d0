"""Keep every run: why and when it was made, what was compared, what differed, what was repaired."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, null, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.reconcile.model import (
    NEWER,
    WAITING_SECONDS_MAX,
    Comparison,
    Finding,
    Kind,
    Phase,
    Reason,
    Verdict,
    by_kind,
)
from replica.reconcile.table import reconcile_runs

KEPT_MAX: Final = 1_000
"""Runs with a verdict; at four a day the better part of a year. As many without: however often
there is none, the last verdict and its source are remembered. Runs of some users count apart."""

_AGE = (
    func.row_number()
    .over(
        partition_by=(
            reconcile_runs.c.verdict == Verdict.COULD_NOT_COMPARE,
            reconcile_runs.c.users.is_(null()),
        ),
        order_by=reconcile_runs.c.finished_at.desc(),
    )
    .label("age")
)
_AGED = (
    select(reconcile_runs.c.id, _AGE).where(reconcile_runs.c.finished_at.is_not(null())).subquery()
)
_FORGET = delete(reconcile_runs).where(
    reconcile_runs.c.id.in_(select(_AGED.c.id).where(_AGED.c.age > KEPT_MAX))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run, as far as it has come. Times are the replica's clock, ``source_at`` the source's.

    ``users`` are those to compare; None means all of them.
    ``verdict`` is None until it has finished; ``explanation`` says why there is none, or why
    something was left. While it runs, ``done`` of about ``total`` users have been through its
    ``phase``.
    """

    id: UUID
    reason: Reason
    requested_by: str | None
    repairs: frozenset[Kind]
    deletions_max: int
    users: list[UUID] | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    verdict: Verdict | None
    explanation: str | None
    source: UUID | None
    source_at: datetime | None
    compared: int | None
    in_flight: int | None
    differing: dict[str, int] | None
    repaired: dict[str, int] | None
    findings: list[dict[str, Any]] | None
    phase: Phase | None
    done: int | None
    total: int | None


async def request(
    connection: AsyncConnection,
    *,
    reason: Reason,
    requested_by: str | None,
    repairs: frozenset[Kind],
    deletions_max: int,
    users: Collection[UUID] = (),
) -> UUID:
    """Request a run, which a consumer starts (``watch``), or the caller itself.

    Parameters:
        users: those to compare; none means all of them.
    """
    run_id: UUID = (
        await connection.execute(
            insert(reconcile_runs)
            .values(
                reason=reason,
                requested_by=requested_by,
                repairs=sorted(repairs),
                deletions_max=deletions_max,
                users=sorted(set(users)) or None,
            )
            .returning(reconcile_runs.c.id)
        )
    ).scalar_one()
    return run_id


async def start(connection: AsyncConnection, run_id: UUID) -> Run:
    """Note that it begins now."""
    return await _changed(connection, run_id, started_at=func.now())


async def note(
    connection: AsyncConnection, run_id: UUID, phase: Phase, done: int, total: int | None
) -> None:
    """Note how far it has come."""
    await _changed(connection, run_id, phase=phase, done=done, total=total)


async def finish(connection: AsyncConnection, run_id: UUID, comparison: Comparison) -> Run:
    """Keep the verdict and its grounds."""
    tally = comparison.tally
    return await _finished(
        connection,
        run_id,
        verdict=comparison.verdict,
        explanation=comparison.explanation,
        source=comparison.source,
        source_at=comparison.source_at,
        compared=comparison.users,
        in_flight=tally.in_flight,
        differing=by_kind(tally.differing),
        repaired=by_kind(tally.repaired),
        findings=[_told(finding) for kind in Kind for finding in tally.listed.get(kind, ())],
    )


async def record(
    connection: AsyncConnection,
    *,
    reason: Reason,
    repairs: frozenset[Kind],
    started_at: datetime,
    comparison: Comparison,
) -> UUID:
    """Keep a comparison that was made without a run, and return the run's id."""
    run_id = await request(
        connection, reason=reason, requested_by=None, repairs=repairs, deletions_max=0
    )
    await _changed(connection, run_id, requested_at=started_at, started_at=started_at)
    return (await finish(connection, run_id, comparison)).id


async def give_up(connection: AsyncConnection, run_id: UUID, explanation: str) -> Run:
    """Keep that there is no verdict, and why."""
    return await _finished(
        connection, run_id, verdict=Verdict.COULD_NOT_COMPARE, explanation=explanation
    )


async def _finished(connection: AsyncConnection, run_id: UUID, **values: Any) -> Run:
    over: dict[str, Any] = {"phase": None, "done": None, "total": None}
    finished = await _changed(
        connection, run_id, finished_at=func.clock_timestamp(), **over, **values
    )
    await connection.execute(_FORGET)
    return finished


async def _changed(connection: AsyncConnection, run_id: UUID, **values: Any) -> Run:
    changed = await connection.execute(
        update(reconcile_runs)
        .where(reconcile_runs.c.id == run_id)
        .values(**values)
        .returning(reconcile_runs)
    )
    return _run(changed.one())


async def source_followed(connection: AsyncConnection) -> UUID | None:
    """The source that this replica was compared with last; None before the first time."""
    latest = (
        select(reconcile_runs.c.source)
        .where(reconcile_runs.c.source.is_not(null()))
        .order_by(reconcile_runs.c.finished_at.desc())
        .limit(1)
    )
    found: UUID | None = await connection.scalar(latest)
    return found


async def own_trouble(connection: AsyncConnection) -> str | None:
    """Why this replica's own runs have come to no verdict since the last one; None if they have.

    Requested runs do not count: they may fail because of the settings of a shell, which say nothing
    about the replica. They are still listed.
    """
    is_own = reconcile_runs.c.requested_by.is_(null())
    last = await _latest(connection, _IS_WHOLE & (_HAS_VERDICT | is_own))
    has_none = last is not None and last.verdict is Verdict.COULD_NOT_COMPARE
    return last.explanation if last is not None and has_none else None


async def last_comparison(connection: AsyncConnection) -> Run | None:
    """The last comparison of the whole table with a verdict; without its findings."""
    return await _latest(connection, _HAS_VERDICT & _IS_WHOLE)


async def last_answer(connection: AsyncConnection) -> Run | None:
    """The last run after which nothing was missing any more; without its findings.

    It found all in step, or it repaired all that was newer at the source. One that only looked and
    found drift answers nothing.
    """
    repaired = reconcile_runs.c.repairs.contains(sorted(NEWER))
    return await _latest(
        connection,
        _HAS_VERDICT & _IS_WHOLE & ((reconcile_runs.c.verdict == Verdict.IN_STEP) | repaired),
    )


async def first_waiting(connection: AsyncConnection) -> UUID | None:
    """The first of those that were asked for and that nobody has begun."""
    query = (
        select(reconcile_runs.c.id)
        .where(_IS_WAITING)
        .order_by(reconcile_runs.c.requested_at)
        .limit(1)
    )
    found: UUID | None = await connection.scalar(query)
    return found


async def waiting(connection: AsyncConnection) -> int:
    """How many were asked for that nobody has begun."""
    query = select(func.count()).where(_IS_WAITING)
    return (await connection.execute(query)).scalar_one()


async def run_by_id(connection: AsyncConnection, run_id: UUID) -> Run | None:
    """One run."""
    row = (
        await connection.execute(select(reconcile_runs).where(reconcile_runs.c.id == run_id))
    ).one_or_none()
    return None if row is None else _run(row)


async def unfinished(connection: AsyncConnection) -> Sequence[Run]:
    """All runs that have not ended, abandoned ones too."""
    query = select(*_WITHOUT_FINDINGS).where(reconcile_runs.c.finished_at.is_(null()))
    return [_run(row) for row in await connection.execute(query)]


async def runs_before(
    connection: AsyncConnection, run_id: UUID | None, limit: int
) -> Sequence[Run]:
    """At most ``limit`` runs, the newest first, without their findings.

    Parameters:
        connection: to read with.
        run_id: only those that were asked for before this one.
        limit: how many at most.
    """
    age = tuple_(reconcile_runs.c.requested_at, reconcile_runs.c.id)
    query = (
        select(*_WITHOUT_FINDINGS)
        .order_by(reconcile_runs.c.requested_at.desc(), reconcile_runs.c.id.desc())
        .limit(limit)
    )
    if run_id is not None:
        since = (
            select(reconcile_runs.c.requested_at)
            .where(reconcile_runs.c.id == run_id)
            .scalar_subquery()
        )
        query = query.where(age < tuple_(since, run_id))
    return [_run(row) for row in await connection.execute(query)]


_IS_WAITING = (
    reconcile_runs.c.started_at.is_(null())
    & reconcile_runs.c.finished_at.is_(null())
    & (
        reconcile_runs.c.requested_at
        > func.now() - text(f"interval '{WAITING_SECONDS_MAX} seconds'")
    )
)

_HAS_VERDICT = reconcile_runs.c.verdict.in_((Verdict.IN_STEP, Verdict.DRIFT))
_IS_WHOLE = (reconcile_runs.c.reason != Reason.PROOF) & reconcile_runs.c.users.is_(null())

# Findings may be a megabyte, and probes ask for the last run every few seconds.
_WITHOUT_FINDINGS: Final = (
    *(column for column in reconcile_runs.c if column is not reconcile_runs.c.findings),
    null().label("findings"),
)


async def _latest(connection: AsyncConnection, condition: Any) -> Run | None:
    query = (
        select(*_WITHOUT_FINDINGS)
        .where(condition & reconcile_runs.c.finished_at.is_not(null()))
        .order_by(reconcile_runs.c.finished_at.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _run(row)


def _run(row: Row[Any]) -> Run:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way
    values["reason"] = Reason(row.reason)
    values["repairs"] = frozenset(map(Kind, row.repairs))
    values["phase"] = None if row.phase is None else Phase(row.phase)
    values["verdict"] = None if row.verdict is None else Verdict(row.verdict)
    return Run(**values)


def _told(finding: Finding) -> dict[str, Any]:
    return asdict(finding) | {"user_id": str(finding.user_id)}
