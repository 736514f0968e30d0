"""Create or update a post that a service maintains for an author. Idempotent.

The service chooses the id, so that an entry of a feed is always the same post. A deleted post stays
deleted, by any user or service, because its id stays.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import IS_REACHED, reach_values, require
from blog_service.policy import Action, Owned
from blog_service.posts.read import post_by_id
from blog_service.problems import POST_DELETED
from blog_service.settings import DeletedAuthors
from blog_service.users.row_lock import lock_author
from replica.actors import Service
from service_kit.database.alone import RowLike
from service_kit.http import problems
from service_kit.http.problems import Problem

_INSERT: Final = text(
    "INSERT INTO posts (id, author_id, title, body, service_id)"
    " VALUES (:id, :author_id, :title, :body, :service_id)"
    " ON CONFLICT (id) DO NOTHING RETURNING id"
)
_PRESENT: Final = text(
    "SELECT author_id, service_id, deleted_at FROM posts WHERE id = :id FOR UPDATE"
)
UPDATE: Final = text(
    f"""
    UPDATE posts SET title = :title, body = :body, updated_at = now()
    WHERE id = :id AND deleted_at IS NULL AND {IS_REACHED}
        AND (title, body) IS DISTINCT FROM (CAST(:title AS text), CAST(:body AS text))
    """  # noqa: S608 - made of a constant
)


async def upsert_post(
    engine: AsyncEngine,
    deleted_authors: DeletedAuthors,
    service: Service,
    post_id: UUID,
    *,
    author_id: UUID,
    title: str,
    body: str,
) -> tuple[RowLike, bool]:
    """Create or update a post; return its new state and whether it was created.

    Raises:
        Problem: the author is unknown or deleted (422), the post belongs to another service, user
            or author (403), or the post was deleted (410).
    """
    kept = Owned(author_id, service.id)
    values = {"id": post_id, "author_id": author_id, "title": title, "body": body}
    async with engine.begin() as connection:
        require(service, Action.UPSERT_POST, kept)
        await lock_author(connection, author_id)
        inserted = await connection.scalar(_INSERT, {**values, "service_id": service.id})
        if inserted is None:
            present = (await connection.execute(_PRESENT, {"id": post_id})).one_or_none()
            if present is None:  # the post with this id was erased just now; a retry succeeds
                raise Problem(problems.UNAVAILABLE)
            if Owned(present.author_id, present.service_id) != kept:
                raise Problem(problems.FORBIDDEN, "the post belongs to another service or author")
            if present.deleted_at is not None:
                raise Problem(POST_DELETED)
            reached = reach_values(service, Action.UPSERT_POST)
            await connection.execute(UPDATE, {**values, **reached})
        return await post_by_id(connection, deleted_authors, post_id), inserted is not None
