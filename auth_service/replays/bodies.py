"""The bodies of requests and answers about replays; the commands' JSON has them too."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from auth_service.replays.model import (
    CONSUMER_PATTERN,
    POSITION_MAX,
    RATE_DEFAULT,
    RATE_MAX,
    TYPES,
    USERS_MAX,
    Plan,
    Replay,
    Selection,
    State,
    UserEventType,
)

_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def _instant(value: object) -> datetime | None:
    """An RFC 3339 time, in UTC."""
    if value is None:
        return None
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("must be a time as RFC 3339 writes it (2026-01-31T12:00:00Z)")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond all calendars") from None


Instant = Annotated[
    datetime | None,
    BeforeValidator(_instant),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class NewReplay(_Body):
    """A replay to be. Every condition narrows what is sent; without any it is the whole log."""

    to: Annotated[
        str,
        Field(pattern=CONSUMER_PATTERN, description="the consumer's name", examples=["blog"]),
    ]
    since: Annotated[Instant, Field(description="recorded then or later")] = None
    until: Annotated[Instant, Field(description="recorded before then")] = None
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
        int, Field(ge=1, le=RATE_MAX, strict=True, description="events a second, at most")
    ] = RATE_DEFAULT
    dry_run: Annotated[
        bool, Field(strict=True, description="only tell what would be sent (200)")
    ] = False

    def selection(self) -> Selection:
        """What is asked for."""
        return Selection(
            current_state=self.current_state,
            since=self.since,
            until=self.until,
            from_position=self.from_position,
            users=tuple(self.users),
            types=tuple(self.types),
        )


class ReplayChange(_Body):
    """What shall become of a replay."""

    state: Literal["paused", "running", "cancelled"] = Field(
        description="`running` resumes a paused one; a cancelled one stays so"
    )


class _Conditions(_Body):
    consumer: str
    current_state: bool
    since: datetime | None
    until: datetime | None
    from_position: int | None
    users: list[UUID] = Field(description="none means all")
    types: list[str] = Field(description="none means all")
    rate: int = Field(description="events a second, at most")
    warning: str | None = Field(description="what the replay may leave behind")


class PlanBody(_Conditions):
    """What a replay would send; nothing was sent, and nothing will be."""

    events: int
    by_type: dict[str, int] = Field(examples=[dict.fromkeys(TYPES, 0)])
    erased_users: int = Field(description="of whom the tombstone goes out alone")
    seconds: float = Field(description="at this rate, once its turn has come")

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The body that shows ``plan``."""
        return cls(
            consumer=plan.consumer,
            rate=plan.rate,
            warning=plan.warning,
            events=plan.events,
            by_type=plan.by_type,
            erased_users=plan.erased_users,
            seconds=plan.seconds,
            **_conditions(plan.selection),
        )


class ReplayBody(_Conditions):
    """A replay and how far it has come. Times are UTC."""

    id: UUID
    state: State = Field(description="`running` also while it waits for those before it")
    requested_by: str = Field(
        description="user:ID, operator:NAME (at the command line) or svc_… (a service)",
        examples=["operator:ada"],
    )
    expected: int = Field(description="events, as counted before")
    published: int = Field(description="events that the broker confirmed")
    seconds_left: float | None = Field(description="at its rate; null once it is finished")
    trouble: str | None = Field(description="why it does not get on; null while it does")
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, replay: Replay) -> Self:
        """The body that shows ``replay``."""
        return cls(
            id=replay.id,
            consumer=replay.consumer,
            rate=replay.rate,
            warning=replay.warning,
            state=replay.state,
            requested_by=replay.requested_by,
            expected=replay.expected,
            published=replay.published,
            seconds_left=replay.seconds_left,
            trouble=replay.trouble,
            created_at=replay.created_at,
            started_at=replay.started_at,
            updated_at=replay.updated_at,
            finished_at=replay.finished_at,
            **_conditions(replay.selection),
        )


def _conditions(selection: Selection) -> dict[str, Any]:
    return {
        "current_state": selection.current_state,
        "since": selection.since,
        "until": selection.until,
        "from_position": selection.from_position,
        "users": list(selection.users),
        "types": list(selection.types),
    }
