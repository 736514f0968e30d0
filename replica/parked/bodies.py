"""The request and response bodies of parked messages; the commands' JSON uses them too."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts.sync.merge import Outcome
from replica.parked.discard import BECAUSE_LENGTH_MAX
from replica.parked.model import Redriven


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class ParkedBody(_Body):
    """A parked message without its content. Times are UTC."""

    id: int
    reason: str = Field(description="stable", examples=["invalid_data"])
    error: str = Field(description="for people; quotes no data", examples=["email: missing"])
    user_id: UUID | None = Field(
        description="null without an identifiable user; the message expires then"
    )
    event_type: str | None = Field(description="from its headers", examples=["user.updated"])
    event_id: UUID | None = Field(description="from its headers")
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    erased: bool = Field(description="the user was deleted, and the body with them")


class GroupBody(_Body):
    """Messages that were parked for the same reason and name the same type."""

    reason: str = Field(examples=["invalid_data"])
    event_type: str | None = Field(description="null: none is named", examples=["user.updated"])
    messages: int


class GroupsBody(_Body):
    """The newest 1,000 messages by reason and type: the largest groups, at most 50."""

    items: list[GroupBody]


class WholeMessageBody(ParkedBody):
    """A parked message as received; values without a JSON type look like `{"$bytes": "…"}`."""

    exchange: str
    routing_key: str
    properties: Mapping[str, Any]
    headers: Mapping[str, Any] = Field(examples=[{"cloudEvents_type": "user.updated"}])
    body: str | None = Field(
        description="may be personal data; null if erased or too large to store"
    )
    body_encoding: Literal["utf-8", "base64"] | None
    body_bytes: int | None = Field(description="the size of the body")


class RedrivenBody(_Body):
    """The result of redriving a message, which stays parked only if the outcome is `parked`."""

    id: int
    outcome: Outcome
    reason: str | None = Field(description="why it stays parked: a stable code")
    error: str | None = Field(description="why it stays parked: a text for people")

    @classmethod
    def of(cls, redriven: Redriven) -> Self:
        """Convert the result of one message."""
        failure = redriven.failure
        return cls(
            id=redriven.id,
            outcome=redriven.outcome,
            reason=failure.reason if failure else None,
            error=failure.error if failure else None,
        )


class RedrivenCountsBody(_Body):
    """The number of messages by outcome; those under `parked` stay parked."""

    applied: int = 0
    unchanged: int = 0
    stale: int = 0
    tombstoned: int = 0
    parked: int = 0
    next_cursor: str | None = Field(
        None, description="where to continue; null once every message was tried"
    )


class DiscardBody(_Body):
    """The operator's reason to discard a message. Stored permanently: do not name anyone."""

    because: Annotated[
        str,
        StringConstraints(min_length=1, max_length=BECAUSE_LENGTH_MAX, pattern=r"\S"),
        Field(examples=["a test that went to the wrong broker"]),
    ]
