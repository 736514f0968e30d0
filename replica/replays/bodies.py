"""The shapes of replays, as the source has them; the service that they go to is always this one.

What a newer source adds to an answer is passed on.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from contracts.events import VERSION_MAX

RATE_MAX: Final = 100_000
USERS_MAX: Final = 1_000
"""The source's own limits, so that the document tells them; it is the source that judges."""

UserEventType = Literal["user.created", "user.updated", "user.deleted"]

Instant = Annotated[
    str,
    # Passed on as it is: the source reads it.
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}"
        r"(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
    ),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time as RFC 3339 writes it."""


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewReplayBody(_Asked):
    """A replay to this service. Every condition narrows it; without any it is the whole log."""

    since: Annotated[Instant | None, Field(description="recorded then or later")] = None
    until: Annotated[Instant | None, Field(description="recorded before then")] = None
    from_position: Annotated[
        Annotated[int, Field(ge=1, le=VERSION_MAX, strict=True)] | None,
        Field(description="from this position in the log on"),
    ] = None
    users: Annotated[
        list[UUID], Field(max_length=USERS_MAX, description="of these users; none means all")
    ] = []
    types: Annotated[
        list[UserEventType], Field(max_length=3, description="of these types; none means all")
    ] = []
    current_state: Annotated[
        bool,
        Field(strict=True, description="users as they are now, in place of recorded events"),
    ] = False
    rate: Annotated[
        Annotated[int, Field(ge=1, le=RATE_MAX, strict=True)] | None,
        Field(description="events a second, at most; the source's default without"),
    ] = None
    dry_run: Annotated[
        bool, Field(strict=True, description="only tell what would be sent (200)")
    ] = False


class ReplayChangeBody(_Asked):
    """What shall become of a replay."""

    state: Literal["paused", "running", "cancelled"] = Field(
        description="`running` resumes a paused one; a cancelled one stays so"
    )


class _Told(BaseModel):
    model_config = ConfigDict(extra="allow")

    consumer: str
    current_state: bool
    since: datetime | None
    until: datetime | None
    from_position: int | None
    users: list[UUID] = Field(description="none means all")
    types: list[str] = Field(description="none means all")
    rate: int = Field(description="events a second, at most")
    warning: str | None = Field(description="what the replay may leave behind")


class PlanBody(_Told):
    """What a replay would send; nothing was sent, and nothing will be."""

    events: int
    by_type: dict[str, int]
    erased_users: int = Field(description="of whom the tombstone goes out alone")
    seconds: float = Field(description="at this rate, once its turn has come")


class ReplayBody(_Told):
    """A replay and how far it has come, as the source tells. Times are UTC, of its clock."""

    id: UUID
    state: str = Field(description="`running` (also while it waits), `paused`, `cancelled`, `done`")
    requested_by: str = Field(description="at the source: this service's account for one made here")
    expected: int = Field(description="events, as counted before")
    published: int = Field(description="events that the broker confirmed")
    seconds_left: float | None = Field(description="at its rate; null once it is finished")
    trouble: str | None = Field(description="why it does not get on; null while it does")
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime | None
    finished_at: datetime | None


class WrongPart(BaseModel):
    """A part of a question that the source found wrong."""

    pointer: Annotated[str, Field(max_length=200)]
    detail: Annotated[str, Field(max_length=1_000)]


class RefusalBody(BaseModel):
    """What of a problem document of the source is of use here."""

    code: Annotated[str, Field(max_length=64)]
    detail: Annotated[str, Field(max_length=1_000)] = ""
    errors: Annotated[list[WrongPart], Field(max_length=20)] = []

    def wrong(self) -> list[dict[str, Any]]:
        """The wrong parts, as a problem has them."""
        return [part.model_dump() for part in self.errors]
