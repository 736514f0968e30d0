"""The response about a user's life; the command's JSON is the same."""

from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from replica.caller import problem_of
from replica.life.model import BothSides, Life
from replica.parked.bodies import ParkedBody
from replica.refusals import Refusal

WHY: Final = {
    None: "served",
    Refusal.DELETED: "the user is deleted",
    Refusal.DISABLED: "the user is disabled",
    Refusal.REVOKED: "tokens are refused that were issued before tokens_valid_after",
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class FieldBody(_Body):
    """One field of the user on both sides."""

    field: str = Field(examples=["status"])
    source: Any = Field(description="null if the source has none, or was not asked")
    replica: Any = Field(description="null if there is no row")
    is_equal: bool | None = Field(description="null if the source was not asked")
    is_hidden: bool = Field(
        False, description="both values are left out: only administrators see addresses"
    )

    @classmethod
    def of(cls, both: BothSides, *, shows_addresses: bool) -> Self:
        """Convert a field; an address may be left out."""
        body = cls.model_validate(both)
        if both.field != "email" or shows_addresses:
            return body
        return body.model_copy(update={"source": None, "replica": None, "is_hidden": True})


class AnswerBody(_Body):
    """What a request gets whose token is valid and issued now."""

    status: int = Field(examples=[403])
    code: str | None = Field(
        description="the problem's; null if the user is served", examples=["account_disabled"]
    )
    because: str = Field(description="for people")

    @classmethod
    def of(cls, refused: Refusal | None) -> Self:
        """Convert the decision."""
        if refused is None:
            return cls(status=200, code=None, because=WHY[None])
        code = problem_of(refused).code
        return cls(status=code.status, code=code.name, because=WHY[refused])


class LifeBody(_Body):
    """A user here and at the source. Of a deleted one nothing is personal. Times are UTC."""

    id: UUID
    source_error: str | None = Field(
        description="why the source's side is missing; null if it responded"
    )
    unpublished: bool | None = Field(
        description="whether an event of the user is not published; null if unknown"
    )
    differs: str | None = Field(
        description="the kind, or in_flight; null: the rows are equal, or the source was not asked",
        examples=["stale"],
    )
    fields: list[FieldBody] = Field(description="empty if neither side has the user")
    applied_at: datetime | None = Field(description="when the row here was last written")
    answer: AnswerBody | None = Field(description="null if this replica has no status to decide by")
    parked: list[ParkedBody] = Field(description="the newest of the user")
    waiting: int = Field(description="messages of the user that wait by themselves")

    @classmethod
    def of(cls, user_id: UUID, life: Life, *, shows_addresses: bool) -> Self:
        """Convert a life."""
        return cls(
            id=user_id,
            source_error=life.unasked,
            unpublished=None if life.source is None else life.source.is_unpublished,
            differs=None if life.differs is None else str(life.differs),
            fields=[FieldBody.of(each, shows_addresses=shows_addresses) for each in life.fields],
            applied_at=life.here.applied_at,
            answer=AnswerBody.of(life.refused) if life.decides else None,
            parked=[ParkedBody.model_validate(each) for each in life.here.parked],
            waiting=life.here.waiting,
        )


class FoundBody(_Body):
    """A user who was found in the replica."""

    id: UUID
    version: int
    deleted_at: datetime | None


class FoundUsersBody(_Body):
    """The first users who were found, in the order of ids."""

    items: list[FoundBody]
