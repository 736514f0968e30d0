"""The shapes of comments over HTTP."""

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
    """What somebody writes."""

    model_config = ConfigDict(extra="forbid")

    body: CommentText


class CommentChanges(BaseModel):
    """What of a comment is to be another; what is missing or null stays as it is."""

    model_config = ConfigDict(extra="forbid")

    body: CommentText | None = None
