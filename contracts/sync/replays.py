"""Replays on the wire: what a replica asks its source to send again, and what the source returns.

``POST /v1/admin/replays`` takes ``NewReplay`` with the consumer's name in ``to``, and responds with
``ReplayBody``, or with ``PlanBody`` for ``dry_run``. ``PATCH /v1/admin/replays/{id}`` takes
``ReplayChange``. A replica ignores fields that a newer source adds to a response.

Not here: which conditions contradict each other (the source's ``replays``), the events themselves
(``contracts.events``).
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from contracts.sync.replay_limits import POSITION_MAX, RATE_MAX, TYPES, USERS_MAX, UserEventType

_INSTANT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def _instant(value: object) -> datetime | None:
    """Read an RFC 3339 time, and convert it to UTC."""
    if value is None:
        return None
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("must be a time as RFC 3339 writes it (2026-01-31T12:00:00Z)")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of the supported date range") from None


Instant = Annotated[
    datetime | None,
    BeforeValidator(_instant),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
]
"""A time in UTC, or None; read from a text as RFC 3339 writes it and from nothing else."""


class NewReplay(BaseModel):
    """A replay to start. Each condition narrows what is sent; without conditions, the whole log."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[Instant, Field(description="recorded at this time or later")] = None
    until: Annotated[Instant, Field(description="recorded before this time")] = None
    from_position: Annotated[
        Annotated[int, Field(ge=1, le=POSITION_MAX, strict=True)] | None,
        Field(description="from this position in the log on"),
    ] = None
    users: Annotated[
        list[UUID], Field(max_length=USERS_MAX, description="of these users; none means all")
    ] = []
    types: Annotated[
        list[UserEventType],
        Field(max_length=len(TYPES), description="of these types; none means all"),
    ] = []
    current_state: Annotated[
        bool,
        Field(strict=True, description="users as they are now, in place of recorded events"),
    ] = False
    rate: Annotated[
        Annotated[int, Field(ge=1, le=RATE_MAX, strict=True)] | None,
        Field(description="events a second, at most; the source's default if left out"),
    ] = None
    dry_run: Annotated[
        bool, Field(strict=True, description="only count what would be sent (200)")
    ] = False


class ReplayChange(BaseModel):
    """The state that a replay is to have."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["paused", "running", "cancelled"] = Field(
        description="`running` resumes a paused replay; a cancelled one stays cancelled"
    )


class Conditions(BaseModel):
    """What a replay sends, as the source repeats it."""

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


class PlanBody(Conditions):
    """What a replay would send; nothing was sent, and nothing will be."""

    events: int
    by_type: dict[str, int] = Field(examples=[dict.fromkeys(TYPES, 0)])
    erased_users: int = Field(description="users sent as a tombstone only")
    seconds: float = Field(description="at this rate, once its turn has come")


class ReplayBody(Conditions):
    """A replay and its progress. Times are UTC, of the source's clock."""

    id: UUID
    state: str = Field(description="`running` (also while it waits), `paused`, `cancelled`, `done`")
    requested_by: str = Field(
        description="user:ID, operator:NAME (at the command line) or svc_… (a service)",
        examples=["operator:ada"],
    )
    expected: int = Field(description="events, as counted before the start")
    published: int = Field(description="events that the broker confirmed")
    seconds_left: float | None = Field(description="at its rate; null once it is finished")
    trouble: str | None = Field(description="why it makes no progress; null while it does")
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime | None
    finished_at: datetime | None
