"""The request and response bodies of posts."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from blog_service.profiles.bodies import AuthorBody
from blog_service.texts import RENDERED, PostText, Title


class PostBody(BaseModel):
    """A post; its title is plain text, its body Markdown."""

    id: UUID
    author: AuthorBody
    title: str
    body: str
    excerpt: str = Field(description="the beginning of the body, as one line of plain text")
    created_at: datetime
    updated_at: datetime


class FullPostBody(PostBody):
    """A post with its body as HTML too."""

    body_html: str = Field(description=RENDERED)


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
