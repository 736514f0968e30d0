"""The request and response bodies of posts."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from blog_service.profiles.bodies import AuthorBody
from blog_service.texts import PostText, Title


class PostBody(BaseModel):
    """A post; title and body are plain text."""

    id: UUID
    author: AuthorBody
    title: str
    body: str
    created_at: datetime
    updated_at: datetime


class NewPostBody(BaseModel):
    """A post to create."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    body: PostText
    author_id: UUID | None = Field(
        None, description="the author, if a service writes; users leave it out"
    )


class KeptPostBody(BaseModel):
    """A post that a service creates or updates for an author."""

    model_config = ConfigDict(extra="forbid")

    author_id: UUID
    title: Title
    body: PostText


class PostChanges(BaseModel):
    """A partial update of a post; a field that is missing or null stays unchanged."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    body: PostText | None = None
