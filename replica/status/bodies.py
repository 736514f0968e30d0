"""The shapes of what operators send and see over HTTP."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from replica.proof.model import State as ProofState
from replica.reconcile.model import (
    DELETIONS_MAX,
    USERS_MAX,
    Kind,
    Phase,
    Reason,
    State,
    Verdict,
    why_no_verdict,
)
from replica.reconcile.run_locks import RunLocks
from replica.reconcile.runs import Run

DELETIONS_LIMIT = 1_000_000
"""The most that HTTP accepts; for more, use the command line."""


class ProofBody(BaseModel):
    """What the last proof says about the replica."""

    state: ProofState = Field(
        description="`unknown`: there is no proof, or it is too old to say anything about now"
    )
    text: str = Field(description="in one line, with the remedy for each kind of difference")
    age_seconds: float | None = Field(description="since the last verdict; null before the first")
    users: int | None = Field(description="of the source, deleted ones too")
    tombstones: int | None = Field(description="those of them who are deleted")
    differing: int | None = Field(description="users who differ and were not repaired")
    kinds: dict[str, int] = Field(description="those users by kind")
    findings: list[dict[str, Any]] = Field(description="some of them, by id, kind and versions")
    in_flight: int | None = Field(description="users whose events were on their way")
    heartbeat: int | None = Field(description="the last that was applied before")
    run_id: UUID | None = Field(description="the comparison that names more of them")
    trouble: str | None = Field(description="why attempts since then came to no verdict")


class WindowBody(BaseModel):
    """The share of a stretch of time in which the replica was proved equal."""

    ratio: Annotated[float, Field(ge=0, le=1)]
    percent: str
    nines: int | None = Field(description="that the ratio begins with; null: all of it")
    since: datetime = Field(description="its beginning, not before the first certificate")
    until: datetime


class AgreementBody(BaseModel):
    """What certificates say about the last hour, day and 30 days; null: nothing yet."""

    text: str = Field(description="in one line")
    hour: WindowBody | None
    day: WindowBody | None
    month: WindowBody | None
    certified_at: datetime | None = Field(description="by the source's clock")


class StatusBody(BaseModel):
    """The pipe's far end at a glance; ages in seconds, null is what is not known."""

    proof: ProofBody
    agreement: AgreementBody
    pipe: str = Field(description="in one line: quiet, consuming, behind or broken")
    users: int
    users_deleted: int
    users_provisional: int
    highest_version: int | None
    last_applied_at: datetime | None
    parked_messages: int
    waiting_messages: int = Field(description="tried again by themselves, every few seconds")
    waiting_oldest_seconds: float | None
    waiting_for: str | None = Field(description="whose some of them are")
    waiting_reasons: str | None = Field(description="`row_held`, `dead_lettered`")
    last_heartbeat: int | None
    last_heartbeat_age_seconds: float | None
    queue_depth: int | None = Field(description="as the consumers saw it a moment ago")
    urgent_queue_depth: int | None = Field(description="copies of urgent events")
    replay_queue_depth: int | None
    dead_queue_depth: int | None
    consumers: int = Field(description="heard of a moment ago")
    consumers_stopped: int = Field(description="of those, who have given up")
    consumer_age_seconds: float | None = Field(description="since one was heard of")
    lag_seconds: float | None = Field(
        description="the worst of the last minute, from the record at the source to the commit here"
    )
    clock: str | None = Field(description="set when the database's clock was ahead, and set back")
    degraded: str | None = Field(description="why the replica may be incomplete")
    last_reconcile: Verdict | None = Field(
        description="of the last run that compared; null before the first"
    )
    last_reconcile_at: datetime | None
    last_reconcile_reason: Reason | None
    last_reconcile_users: int | None
    last_reconcile_differing: int | None
    last_reconcile_repaired: int | None
    last_reconcile_explanation: str | None
    reconcile_trouble: str | None = Field(
        description="why the consumer's own comparisons have failed since then; null if none has"
    )


class NewRunBody(BaseModel):
    """What to compare for; without anything it only looks."""

    model_config = ConfigDict(extra="forbid")

    repair: bool = Field(default=False, description="missing, stale, undeleted and corrupt users")
    ahead: bool = Field(default=False, description="users who are ahead of the source")
    orphans: bool = Field(default=False, description="users unknown to the source")
    max_deletions: Annotated[int, Field(ge=0, le=DELETIONS_LIMIT)] = DELETIONS_MAX
    users: Annotated[
        list[UUID],
        Field(max_length=USERS_MAX, description="compare and repair these alone; none means all"),
    ] = []


class RunSummaryBody(BaseModel):
    """A comparison, as far as it has come; counts are users by kind."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    state: State = Field(
        description="`waiting` for a consumer, `running`, `ended`; `lapsed`: no consumer came in"
        " time; `broken_off`: its worker died"
    )
    reason: Reason
    requested_by: str | None
    repairs: Annotated[list[Kind], BeforeValidator(sorted)]
    users: list[UUID] | None = Field(description="those to compare; null means all")
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    phase: Phase | None = Field(description="what it is at, while it runs")
    done: int | None = Field(description="users, of this phase")
    total: int | None = Field(description="users, about; null is not known")
    verdict: Verdict | None = Field(description="null until it has finished")
    explanation: str | None
    source: UUID | None
    source_at: datetime | None
    compared: int | None
    in_flight: int | None
    differing: dict[str, int] | None
    repaired: dict[str, int] | None

    @classmethod
    def of(cls, run: Run, seen: RunLocks, *, command: str) -> Self:
        """Show ``run``, which was read after ``seen``; ``command`` is the service's."""
        became = seen.state(run)
        return cls.model_validate(
            {
                **asdict(run),
                "state": became,
                "explanation": run.explanation or why_no_verdict(became, command),
            }
        )


class RunBody(RunSummaryBody):
    """A comparison, as far as it has come, with the first users of each kind that differed."""

    findings: list[dict[str, Any]] | None


class PointBody(BaseModel):
    """What all consumers saw in one stretch of time."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime = Field(description="where it begins")
    consumers: int = Field(description="how many took samples in it")
    latency_seconds: float | None = Field(
        description="the worst from the record at the source to the commit here; null: none came"
    )
    applied: int = Field(
        description="messages that were applied, whether or not that changed anything"
    )
    queue_depth: int | None = Field(description="the deepest; null: the broker did not answer")
    urgent_queue_depth: int | None
    replay_queue_depth: int | None
    dead_queue_depth: int | None


class SeriesBody(BaseModel):
    """How the pipe did, oldest first. Where points are missing, no consumer was alive.

    Before ``since`` there was no consumer yet, as far as is known.
    """

    model_config = ConfigDict(from_attributes=True)

    until: datetime = Field(description="now, by the replica's clock")
    since: datetime | None = Field(
        description="the first that is known of a consumer; null before there was one"
    )
    minutes: int
    bucket_seconds: int = Field(description="how long a point's stretch is")
    items: list[PointBody]
