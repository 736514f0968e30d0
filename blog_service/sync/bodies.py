"""The shapes of what operators send and see over HTTP."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from blog_service.reconcile.model import DELETIONS_MAX, Kind, Reason, Verdict

DELETIONS_LIMIT = 1_000_000
"""What may be asked for; more at once is a case for somebody at the command line."""


class StatusBody(BaseModel):
    """The pipe's far end at a glance; ages in seconds, null is what is not known."""

    pipe: str = Field(description="in one line: quiet, consuming, behind or broken")
    users: int
    users_deleted: int
    users_provisional: int
    highest_version: int | None
    last_applied_at: datetime | None
    parked_messages: int
    last_heartbeat: int | None
    last_heartbeat_age_seconds: float | None
    queue_depth: int | None
    replay_queue_depth: int | None
    dead_queue_depth: int | None
    degraded: str | None = Field(description="why a comparison is due that is not made yet")
    last_reconcile: Verdict | None
    last_reconcile_at: datetime | None
    last_reconcile_reason: Reason | None
    last_reconcile_users: int | None
    last_reconcile_differing: int | None
    last_reconcile_repaired: int | None
    last_reconcile_explanation: str | None


class NewRunBody(BaseModel):
    """What to compare for; without anything it only looks."""

    model_config = ConfigDict(extra="forbid")

    repair: bool = Field(default=False, description="missing, stale, undeleted and corrupt users")
    ahead: bool = Field(default=False, description="users who are ahead of the source")
    orphans: bool = Field(default=False, description="users whom the source does not know")
    max_deletions: Annotated[int, Field(ge=0, le=DELETIONS_LIMIT)] = DELETIONS_MAX


class RunBody(BaseModel):
    """A comparison, as far as it has come; counts are users by kind."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    reason: Reason
    requested_by: str | None
    repairs: Annotated[list[Kind], BeforeValidator(sorted)]
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    verdict: Verdict | None = Field(description="null until it has finished")
    explanation: str | None
    source: UUID | None
    source_at: datetime | None
    compared: int | None
    in_flight: int | None
    differing: dict[str, int] | None
    repaired: dict[str, int] | None
    findings: list[dict[str, Any]] | None
