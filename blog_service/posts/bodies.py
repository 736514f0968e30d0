"""The shapes of posts over HTTP."""

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
    """What somebody writes."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    body: PostText
    author_id: UUID | None = Field(
        None, description="for whom a service writes; users write for themselves, without it"
    )


class KeptPostBody(BaseModel):
    """What a service keeps for an author."""

    model_config = ConfigDict(extra="forbid")

    author_id: UUID
    title: Title
    body: PostText


class PostChanges(BaseModel):
    """What of a post is to be another; what is missing or null stays as it is."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    body: PostText | None = None
