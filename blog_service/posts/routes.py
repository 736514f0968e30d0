"""The HTTP endpoints of posts: parse, call the use case, respond."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from blog_service.context import Blog
from blog_service.json_responses import json_response, page_response
from blog_service.policy import POSTS_WRITE
from blog_service.posts.bodies import (
    FullPostBody,
    KeptPostBody,
    NewPostBody,
    PostBody,
    PostChanges,
)
from blog_service.posts.change import change_post
from blog_service.posts.delete import delete_post
from blog_service.posts.read import (
    full_post_document,
    post_by_id,
    post_document,
    posts_page,
)
from blog_service.posts.upsert import upsert_post
from blog_service.posts.write import write_post
from blog_service.problems import POST_DELETED, UNKNOWN_AUTHOR
from blog_service.texts import SearchWords
from replica.actors import Service
from replica.caller import CALLER, Caller, CurrentCaller
from service_kit.http import problems
from service_kit.http.bearer import insufficient_scope
from service_kit.http.openapi import documented
from service_kit.http.pagination import Limit, NumberCursor, Page
from service_kit.http.problems import Problem

POSTS_DEFAULT: Final = 20
"""Posts on a page, unless the request says otherwise; bodies may have thousands of characters."""

_WRITES: Final = (*CALLER, problems.INSUFFICIENT_SCOPE, problems.FORBIDDEN)

router = APIRouter(prefix="/v1/posts", tags=["posts"])


@router.get("", summary="List posts", response_model=Page[PostBody])
async def get_posts(
    blog: Blog,
    cursor: NumberCursor | None = None,
    author: Annotated[UUID | None, Query(description="return only the posts of this user")] = None,
    q: Annotated[SearchWords | None, Query()] = None,
    limit: Limit = POSTS_DEFAULT,
) -> Response:
    """Return a page of posts, newest first; with `q`, only those that have these words."""
    found = await posts_page(
        blog.reader if q is None else blog.searcher,
        blog.settings.deleted_authors,
        limit=limit + 1,
        before=cursor,
        author_id=author,
        words=q,
    )
    return page_response(found, limit, [post_document(row) for row in found[:limit]])


@router.get(
    "/{post_id}",
    summary="Read a post",
    response_model=FullPostBody,
    responses=documented(problems.NOT_FOUND),
)
async def get_post(post_id: UUID, blog: Blog) -> Response:
    """Return the post with this id."""
    async with blog.engine.connect() as connection:
        found = await post_by_id(connection, blog.settings.deleted_authors, post_id)
    return json_response(await full_post_document(blog.renderer, found))


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Write a post",
    response_model=FullPostBody,
    responses=documented(*_WRITES, UNKNOWN_AUTHOR, problems.TOO_MANY_REQUESTS),
)
async def post_post(body: NewPostBody, caller: CurrentCaller, blog: Blog) -> Response:
    """Users write as themselves; a service with scope `posts:write` names the author."""
    written = await write_post(
        blog.engine,
        blog.settings,
        caller,
        author_id=_author_id(body, caller),
        title=body.title,
        body=body.body,
    )
    return json_response(await full_post_document(blog.renderer, written), status.HTTP_201_CREATED)


@router.put(
    "/{post_id}",
    summary="Create or update a post from an external source",
    response_model=FullPostBody,
    responses={
        **documented(*_WRITES, POST_DELETED, UNKNOWN_AUTHOR),
        status.HTTP_201_CREATED: {"model": FullPostBody, "description": "Created"},
    },
)
async def put_post(
    post_id: UUID, body: KeptPostBody, caller: CurrentCaller, blog: Blog
) -> Response:
    """For services with scope `posts:write`. The service chooses the id; the request is idempotent.

    A deleted post stays deleted, and a post of another service or user is refused.
    """
    if not isinstance(caller, Service):
        raise insufficient_scope(POSTS_WRITE)
    kept, is_new = await upsert_post(
        blog.engine,
        blog.settings.deleted_authors,
        caller,
        post_id,
        author_id=body.author_id,
        title=body.title,
        body=body.body,
    )
    return json_response(
        await full_post_document(blog.renderer, kept),
        status.HTTP_201_CREATED if is_new else status.HTTP_200_OK,
    )


@router.patch(
    "/{post_id}",
    summary="Change a post",
    response_model=FullPostBody,
    responses=documented(*_WRITES, problems.NOT_FOUND, UNKNOWN_AUTHOR),
)
async def patch_post(
    post_id: UUID, body: PostChanges, caller: CurrentCaller, blog: Blog
) -> Response:
    """Allowed for its author, its service, and users with the role `moderator` or `admin`."""
    changed = await change_post(
        blog.engine,
        blog.settings.deleted_authors,
        caller,
        post_id,
        title=body.title,
        body=body.body,
    )
    return json_response(await full_post_document(blog.renderer, changed))


@router.delete(
    "/{post_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a post",
    responses=documented(*_WRITES, problems.NOT_FOUND),
)
async def remove_post(post_id: UUID, caller: CurrentCaller, blog: Blog) -> None:
    """Allowed for its author, its service, and users with the role `moderator` or `admin`."""
    await delete_post(blog.engine, blog.settings.deleted_authors, caller, post_id)


def _author_id(body: NewPostBody, caller: Caller) -> UUID:
    if isinstance(caller, Service) and body.author_id is not None:
        return body.author_id
    if not isinstance(caller, Service) and body.author_id is None:
        return caller.id
    detail = "Field required" if isinstance(caller, Service) else "Extra inputs are not permitted"
    wrong = {"pointer": "/body/author_id", "detail": detail}
    raise Problem(problems.INVALID_REQUEST, errors=[wrong])
