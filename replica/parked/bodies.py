"""The bodies of requests and answers about parked messages; the commands' JSON has them too."""

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
    """A parked message, without what is in it. Times are UTC."""

    id: int
    reason: str = Field(description="stable", examples=["invalid_data"])
    error: str = Field(description="for people; quotes no data", examples=["email: missing"])
    user_id: UUID | None = Field(description="null when no user is legible; it expires then")
    event_type: str | None = Field(description="as its headers say", examples=["user.updated"])
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    erased: bool = Field(description="its user was deleted, and its body with him")


class WholeMessageBody(ParkedBody):
    """A parked message as it came; what JSON has no type for is such as `{"$bytes": "…"}`."""

    exchange: str
    routing_key: str
    properties: Mapping[str, Any]
    headers: Mapping[str, Any] = Field(examples=[{"cloudEvents_type": "user.updated"}])
    body: str | None = Field(
        description="may be personal data; null once erased, or too large to keep"
    )
    body_encoding: Literal["utf-8", "base64"] | None
    body_bytes: int | None = Field(description="how many it has")


class RedrivenBody(_Body):
    """What redriving did to a message; it stays parked only if the outcome is `parked`."""

    id: int
    outcome: Outcome
    reason: str | None = Field(description="why it stays parked, stable")
    error: str | None = Field(description="why it stays parked, for people")

    @classmethod
    def of(cls, redriven: Redriven) -> Self:
        """What happened to one message."""
        failure = redriven.failure
        return cls(
            id=redriven.id,
            outcome=redriven.outcome,
            reason=failure.reason if failure else None,
            error=failure.error if failure else None,
        )


class RedrivenCountsBody(_Body):
    """How many messages went which way; those under `parked` stay parked."""

    applied: int = 0
    unchanged: int = 0
    stale: int = 0
    tombstoned: int = 0
    parked: int = 0
    next_cursor: str | None = Field(
        None, description="where to go on; null once every message was tried"
    )


class DiscardBody(_Body):
    """Why a message is discarded, in the operator's words. Kept for ever: name nobody."""

    because: Annotated[
        str,
        StringConstraints(min_length=1, max_length=BECAUSE_LENGTH_MAX, pattern=r"\S"),
        Field(examples=["a test that went to the wrong broker"]),
    ]
