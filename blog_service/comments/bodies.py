"""The request and response bodies of comments."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from blog_service.profiles.bodies import AuthorBody
from blog_service.texts import RENDERED, CommentText


class CommentBody(BaseModel):
    """A comment; its body is Markdown."""

    id: UUID
    post_id: UUID
    author: AuthorBody
    body: str
    body_html: str = Field(description=RENDERED)
    created_at: datetime
    updated_at: datetime


class NewCommentBody(BaseModel):
    """A comment to create."""

    model_config = ConfigDict(extra="forbid")

    body: CommentText


class CommentChanges(BaseModel):
    """A partial update of a comment; a field that is missing or null stays unchanged."""

    model_config = ConfigDict(extra="forbid")

    body: CommentText | None = None
