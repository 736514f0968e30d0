"""The outbox's state over HTTP, for operators: what ``auth-service status`` shows."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from auth_service.context import Auth
from auth_service.outbox.metrics import figures
from auth_service.sessions.bearer import OPERATORS_ONLY, Operator
from service_kit.http.openapi import documented

router = APIRouter(prefix="/v1/admin", tags=["administration"])


class QueueBody(BaseModel):
    """A queue that the relay watches (`AUTH_WATCHED_QUEUES`)."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(examples=["blog.users"])
    messages: int | None = Field(description="ready messages; null: queue or broker missing")
    age_seconds: float = Field(description="since it was observed")


class SetAsideBody(BaseModel):
    """Events of a type that no queue accepts; they delay only later events of their users."""

    model_config = ConfigDict(from_attributes=True)

    type: str = Field(examples=["user.updated"])
    events: int
    since: datetime = Field(description="when the oldest of them was recorded")
    reason: str = Field(examples=["no queue is bound for it"])


class StatusBody(BaseModel):
    """The state of the outbox, the relay and replays; ages in seconds, null for none."""

    model_config = ConfigDict(from_attributes=True)

    pipe: str = Field(
        description="in one line: quiet, publishing, behind or broken", examples=["quiet"]
    )
    source: UUID = Field(description="the source's identity, to which replicas bind")
    users: int
    users_deleted: int = Field(description="tombstones, not counted in `users`")
    position: int | None = Field(description="of the newest event in the log")
    unpublished: int = Field(description="recorded events that are not published")
    oldest_unpublished_age_seconds: float
    set_aside: list[SetAsideBody] = Field(description="events that no queue accepts, by type")
    events_behind: int = Field(description="later events of the same users")
    held_rows: int = Field(description="rows that other sessions have locked")
    held_since: datetime | None
    relay: str = Field(examples=["active"])
    trouble: str | None = Field(description="why the active relay makes no progress")
    trouble_since: datetime | None
    last_heartbeat: int
    last_heartbeat_age_seconds: float | None
    oldest_position: int | None = Field(description="replays of the log go back to here")
    oldest_at: datetime | None
    pruned_position: int
    replays_unfinished: int
    replay: UUID | None = Field(description="the replay in progress")
    replay_published: int | None
    replay_expected: int | None
    clock: str | None = Field(description="set if the database's clock was ahead and was set back")
    queues: list[QueueBody] = Field(description="consuming services' queues, as last observed")


@router.get("/status", summary="Show the outbox and relay", responses=documented(*OPERATORS_ONLY))
async def get_status(_: Operator, auth: Auth) -> StatusBody:
    """As `auth-service status`: the backlog, and whether a relay is publishing it."""
    async with auth.engine.connect() as connection:
        return StatusBody.model_validate(
            await figures(connection, heartbeat_seconds=auth.settings.heartbeat_seconds)
        )
