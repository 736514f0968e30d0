"""The shapes of users, of their profiles and of authors over HTTP."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from blog_service.texts import AvatarUrl, Bio, DisplayName

Status = Literal["active", "disabled", "deleted", "provisional"]


class AuthorBody(BaseModel):
    """Whoever wrote something, as its readers see him."""

    id: UUID | None = Field(description="null once he is deleted")
    display_name: str | None = Field(description="null until he has chosen one")
    avatar_url: str | None
    status: Status


class MeBody(BaseModel):
    """The caller as this service knows him; null is what nobody has told yet."""

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
    """What anyone may see of a user: no e-mail address."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    status: Status
    version: int
    created_at: datetime | None
    display_name: str | None
    bio: str | None
    avatar_url: str | None


class ProfileChanges(BaseModel):
    """What a user changes of his profile: what is missing stays, null clears."""

    model_config = ConfigDict(extra="forbid")

    display_name: DisplayName | None = None
    bio: Bio | None = None
    avatar_url: AvatarUrl | None = None
