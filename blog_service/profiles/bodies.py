"""The request and response bodies of users, profiles and authors."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from blog_service.texts import AvatarUrl, Bio, DisplayName

Status = Literal["active", "disabled", "deleted", "provisional"]


class AuthorBody(BaseModel):
    """Public author of a post or comment."""

    id: UUID | None = Field(description="null once the author is deleted")
    display_name: str | None = Field(description="null until the author has chosen one")
    avatar_url: str | None
    status: Status


class MeBody(BaseModel):
    """The caller as this service knows them; null means not known yet."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str | None
    email_verified: bool
    roles: list[str]
    status: Status
    version: int
    created_at: datetime | None
    updated_at: datetime | None
    display_name: str | None
    bio: str | None
    avatar_url: str | None


class PublicUserBody(BaseModel):
    """The public view of a user, without e-mail address."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    status: Status
    version: int
    created_at: datetime | None
    display_name: str | None
    bio: str | None
    avatar_url: str | None


class ProfileChanges(BaseModel):
    """A partial update of a profile: a missing field stays unchanged, null clears it."""

    model_config = ConfigDict(extra="forbid")

    display_name: DisplayName | None = None
    bio: Bio | None = None
    avatar_url: AvatarUrl | None = None
