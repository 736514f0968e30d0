"""Change the title or text of a post."""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import IS_REACHED, reach_values, require
from blog_service.policy import Action, Owned
from blog_service.posts.read import post_by_id
from blog_service.settings import DeletedAuthors
from blog_service.users.row_lock import lock_author, lock_caller
from replica.actors import Service
from replica.caller import Caller
from service_kit.database.alone import RowLike

UPDATE: Final = text(
    f"""
    UPDATE posts SET title = coalesce(:title, title), body = coalesce(:body, body),
        updated_at = CASE WHEN (title, body) IS DISTINCT FROM
            (coalesce(:title, title), coalesce(:body, body)) THEN now() ELSE updated_at END
    WHERE id = :id AND deleted_at IS NULL AND {IS_REACHED}
    """  # noqa: S608 - made of a constant
)


async def change_post(
    engine: AsyncEngine,
    deleted_authors: DeletedAuthors,
    caller: Caller,
    post_id: UUID,
    *,
    title: str | None,
    body: str | None,
) -> RowLike:
    """Change a post and return its new state; None leaves a field unchanged.

    Raises:
        Problem: no visible post has this id (404), the caller may not change it (403), or the
            author that a service names does not exist (422).
    """
    async with engine.begin() as connection:
        actor = await lock_caller(connection, caller)
        post = await post_by_id(connection, deleted_authors, post_id)
        require(actor, Action.CHANGE_POST, Owned(post["owner_id"], post["service_id"]))
        if isinstance(actor, Service):
            await lock_author(connection, post["owner_id"])
        reached = reach_values(actor, Action.CHANGE_POST)
        await connection.execute(UPDATE, {"id": post_id, "title": title, "body": body, **reached})
        return await post_by_id(connection, deleted_authors, post_id)
