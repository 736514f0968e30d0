"""Delete a comment."""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import IS_REACHED_BY_USER, reach_values, require
from blog_service.comments.read import comment_by_id
from blog_service.policy import Action, Owned
from blog_service.settings import DeletedAuthors
from blog_service.users.row_lock import lock_user
from replica.caller import ReplicaUser
from service_kit.http import problems
from service_kit.http.problems import Problem

DELETE: Final = text(
    f"DELETE FROM comments WHERE id = :id AND {IS_REACHED_BY_USER}"  # noqa: S608 - a constant
)


async def delete_comment(
    engine: AsyncEngine, deleted_authors: DeletedAuthors, caller: ReplicaUser, comment_id: UUID
) -> None:
    """Delete the row of a comment.

    Raises:
        Problem: no visible comment has this id (404), or the caller may not delete it (403).
    """
    async with engine.begin() as connection:
        user = await lock_user(connection, caller)
        comment = await comment_by_id(connection, deleted_authors, comment_id)
        require(user, Action.DELETE_COMMENT, Owned(comment["owner_id"]))
        reached = reach_values(user, Action.DELETE_COMMENT)
        deleted = await connection.execute(DELETE, {"id": comment_id, **reached})
        if deleted.rowcount == 0:  # another request has deleted it
            raise Problem(problems.NOT_FOUND)
