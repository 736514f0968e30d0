"""The near end of the pipe over HTTP, for operators: what ``auth-service status`` shows."""

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
    """A queue that the relay looks at (`AUTH_WATCHED_QUEUES`)."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(examples=["blog.users"])
    messages: int | None = Field(description="that wait; null: no such queue, or no broker")
    age_seconds: float = Field(description="since the look")


class SetAsideBody(BaseModel):
    """Events of a type that wait by themselves, and hold up nobody but their users."""

    model_config = ConfigDict(from_attributes=True)

    type: str = Field(examples=["user.updated"])
    events: int
    since: datetime = Field(description="when the oldest of them was recorded")
    reason: str = Field(examples=["no queue is bound for it"])


class StatusBody(BaseModel):
    """The pipe's near end at a glance; ages in seconds, null is what there is none of."""

    model_config = ConfigDict(from_attributes=True)

    pipe: str = Field(
        description="in one line: quiet, publishing, behind or broken", examples=["quiet"]
    )
    source: UUID = Field(description="this source's identity, which replicas follow")
    users: int
    users_deleted: int = Field(description="tombstones, which count apart")
    position: int | None = Field(description="of the newest event in the log")
    unpublished: int = Field(description="recorded events that have not gone out")
    oldest_unpublished_age_seconds: float
    set_aside: list[SetAsideBody] = Field(description="what waits by itself, by type")
    events_behind: int = Field(description="of the users of those, recorded later")
    held_rows: int = Field(description="that the relay cannot change: a session holds them")
    held_since: datetime | None
    relay: str = Field(examples=["active"])
    trouble: str | None = Field(description="why the active relay does not get on")
    trouble_since: datetime | None
    last_heartbeat: int
    last_heartbeat_age_seconds: float | None
    oldest_position: int | None = Field(description="replays of the log go back to here")
    oldest_at: datetime | None
    pruned_position: int
    replays_unfinished: int
    replay: UUID | None = Field(description="the one that is under way")
    replay_published: int | None
    replay_expected: int | None
    clock: str | None = Field(description="set when the database's clock was ahead, and set back")
    queues: list[QueueBody] = Field(description="of consuming services, as a relay last saw them")


@router.get("/status", summary="The near end of the pipe", responses=documented(*OPERATORS_ONLY))
async def get_status(_: Operator, auth: Auth) -> StatusBody:
    """As ``auth-service status``: what waits to be published, and whether a relay works."""
    async with auth.engine.connect() as connection:
        return StatusBody.model_validate(
            await figures(connection, heartbeat_seconds=auth.settings.heartbeat_seconds)
        )
