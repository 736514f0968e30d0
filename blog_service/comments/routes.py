"""The HTTP endpoints of comments: parse, call the use case, respond."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Response, status

from blog_service.comments.bodies import CommentBody, CommentChanges, NewCommentBody
from blog_service.comments.change import change_comment
from blog_service.comments.delete import delete_comment
from blog_service.comments.read import comment_documents, comments_page
from blog_service.comments.write import write_comment
from blog_service.context import Blog
from blog_service.json_responses import json_response, page_response
from replica.caller import CurrentUser
from service_kit.http import problems
from service_kit.http.openapi import TOKEN, documented
from service_kit.http.pagination import Limit, NumberCursor, Page

COMMENTS_DEFAULT: Final = 20
"""Comments on a page, unless the request says otherwise."""

_CHANGES: Final = (*TOKEN, problems.FORBIDDEN, problems.NOT_FOUND)

router = APIRouter(prefix="/v1", tags=["comments"])


@router.get(
    "/posts/{post_id}/comments",
    summary="List the comments on a post",
    response_model=Page[CommentBody],
    responses=documented(problems.NOT_FOUND),
)
async def get_comments(
    post_id: UUID,
    blog: Blog,
    cursor: NumberCursor | None = None,
    limit: Limit = COMMENTS_DEFAULT,
) -> Response:
    """Return a page of comments, oldest first."""
    found = await comments_page(
        blog.reader, blog.settings.deleted_authors, post_id, limit=limit + 1, after=cursor
    )
    items = await comment_documents(blog.renderer, found[:limit])
    return page_response(found, limit, items)


@router.post(
    "/posts/{post_id}/comments",
    status_code=status.HTTP_201_CREATED,
    summary="Comment on a post",
    response_model=CommentBody,
    responses=documented(*_CHANGES, problems.TOO_MANY_REQUESTS),
)
async def post_comment(
    post_id: UUID, body: NewCommentBody, user: CurrentUser, blog: Blog
) -> Response:
    """Create a comment by the caller and return it."""
    written = await write_comment(blog.engine, blog.settings, user, post_id, body=body.body)
    [document] = await comment_documents(blog.renderer, [written])
    return json_response(document, status.HTTP_201_CREATED)


@router.patch(
    "/comments/{comment_id}",
    summary="Change a comment",
    response_model=CommentBody,
    responses=documented(*_CHANGES),
)
async def patch_comment(
    comment_id: UUID, body: CommentChanges, user: CurrentUser, blog: Blog
) -> Response:
    """Allowed for its author and for users with the role `moderator` or `admin`."""
    deleted_authors = blog.settings.deleted_authors
    changed = await change_comment(blog.engine, deleted_authors, user, comment_id, body=body.body)
    [document] = await comment_documents(blog.renderer, [changed])
    return json_response(document)


@router.delete(
    "/comments/{comment_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a comment",
    responses=documented(*_CHANGES),
)
async def remove_comment(comment_id: UUID, user: CurrentUser, blog: Blog) -> None:
    """Allowed for its author and for users with the role `moderator` or `admin`."""
    await delete_comment(blog.engine, blog.settings.deleted_authors, user, comment_id)
