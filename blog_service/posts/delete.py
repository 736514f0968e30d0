"""Delete a post.

Guarantees: the statement that deletes the post also erases title and body. Its comments are hidden
from that moment, because a comment is visible only with its post, and are erased afterwards
(``erasure``). The id stays, so that no service creates the post again.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import IS_REACHED, reach_values, require
from blog_service.policy import Action, Owned
from blog_service.posts.read import post_by_id
from blog_service.settings import DeletedAuthors
from blog_service.users.row_lock import lock_caller
from replica.caller import Caller
from service_kit.http import problems
from service_kit.http.problems import Problem

DELETE: Final = text(
    f"""
    UPDATE posts SET title = NULL, body = NULL, deleted_at = now(), sweep = true
    WHERE id = :id AND deleted_at IS NULL AND {IS_REACHED}
    """  # noqa: S608 - made of a constant
)


async def delete_post(
    engine: AsyncEngine, deleted_authors: DeletedAuthors, caller: Caller, post_id: UUID
) -> None:
    """Delete a post permanently.

    Raises:
        Problem: no visible post has this id (404), or the caller may not delete it (403).
    """
    async with engine.begin() as connection:
        actor = await lock_caller(connection, caller)
        post = await post_by_id(connection, deleted_authors, post_id)
        require(actor, Action.DELETE_POST, Owned(post["owner_id"], post["service_id"]))
        reached = reach_values(actor, Action.DELETE_POST)
        deleted = await connection.execute(DELETE, {"id": post_id, **reached})
        if deleted.rowcount == 0:  # another request has deleted it
            raise Problem(problems.NOT_FOUND)
