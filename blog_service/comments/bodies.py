"""The request and response bodies of comments."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from blog_service.profiles.bodies import AuthorBody
from blog_service.texts import CommentText


class CommentBody(BaseModel):
    """A comment; the body is plain text."""

    id: UUID
    post_id: UUID
    author: AuthorBody
    body: str
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
