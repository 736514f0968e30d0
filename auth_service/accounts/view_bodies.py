"""Request and response bodies of searching for users and of one user's life."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints

from auth_service.users.bodies import Body
from auth_service.users.search import Found
from contracts.events import EMAIL_LENGTH_MAX
from service_kit.process.id_prefixes import PREFIX_LENGTH_MIN

AnyStatus = Literal["active", "disabled", "deleted"]


class SearchBody(Body):
    """What the id or the address of the wanted users begins with."""

    text: Annotated[
        str,
        # Stripped before its length counts: spaces would find everybody.
        StringConstraints(
            strip_whitespace=True,
            min_length=PREFIX_LENGTH_MIN,
            max_length=EMAIL_LENGTH_MAX,
            pattern=r"^[^\x00-\x1f\x7f]+$",
        ),
        Field(
            description="of an id: case and dashes do not count; addresses need the role `admin`",
            examples=["0b6f1c1e"],
        ),
    ]


class FoundBody(Body):
    """A user who was found."""

    id: UUID
    email: str | None = Field(description="null if deleted, or without the role `admin`")
    status: AnyStatus

    @classmethod
    def of(cls, found: Found, *, shows_addresses: bool) -> Self:
        """Convert a user."""
        return cls(id=found.id, email=found.email if shows_addresses else None, status=found.status)


class FoundUsersBody(Body):
    """The first twenty users who were found: by address, and then by id."""

    items: list[FoundBody]
    searched_addresses: bool = Field(description="false without the role `admin`")


class VersionBody(Body):
    """A version of a user, and what became of its event. Times are UTC."""

    version: int
    event_id: UUID
    type: str = Field(examples=["user.updated"])
    recorded_at: datetime
    published_at: datetime | None = Field(description="null: not published yet")
    set_aside: str | None = Field(description="why the event waits; null if it does not")


class LifeEntryBody(Body):
    """An entry of the audit log about the user; ids only."""

    occurred_at: datetime
    action: str = Field(examples=["user_disabled"])
    actor: str
    details: Mapping[str, Any] | None


class UserLifeBody(Body):
    """A user as the source has them. Times are UTC. Of a deleted one nothing is personal."""

    id: UUID
    status: AnyStatus
    version: int
    email: str | None = Field(description="null if deleted, or without the role `admin`")
    email_verified: bool | None = Field(description="null if deleted, as are the next four")
    roles: list[str] | None
    tokens_valid_after: datetime | None = Field(
        description="access tokens that were issued before are refused; null: none are"
    )
    created_at: datetime | None
    updated_at: datetime | None
    deleted_at: datetime | None
    sessions: int = Field(description="that have not ended")
    versions: list[VersionBody] = Field(description="the latest in the log, newest first")
    audit: list[LifeEntryBody] | None = Field(
        description="the latest entries, newest first; null without the role `admin`"
    )

    @classmethod
    def of(cls, found: Mapping[str, Any], *, for_administrators: bool) -> Self:
        """Convert a life; without its address and its audit entries for anybody else."""
        left_out = {} if for_administrators else {"email": None, "audit": None}
        missing = dict.fromkeys(cls.model_fields)
        entries = [
            {name: entry[name] for name in LifeEntryBody.model_fields} for entry in found["audit"]
        ]
        return cls.model_validate({**missing, **found, "audit": entries, **left_out})
