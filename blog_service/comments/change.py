"""Change the text of a comment."""

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
from service_kit.database.alone import RowLike

UPDATE: Final = text(
    f"""
    UPDATE comments SET body = :body, updated_at = now()
    WHERE id = :id AND body <> :body AND {IS_REACHED_BY_USER}
    """  # noqa: S608 - made of a constant
)


async def change_comment(
    engine: AsyncEngine,
    deleted_authors: DeletedAuthors,
    caller: ReplicaUser,
    comment_id: UUID,
    *,
    body: str | None,
) -> RowLike:
    """Change a comment and return its new state.

    Parameters:
        engine: the blog's database.
        deleted_authors: whether content of deleted authors is visible.
        caller: the user who asks.
        comment_id: the comment to change.
        body: the new text; None leaves it unchanged.

    Raises:
        Problem: no visible comment has this id (404), or the caller may not change it (403).
    """
    async with engine.begin() as connection:
        user = await lock_user(connection, caller)
        comment = await comment_by_id(connection, deleted_authors, comment_id)
        require(user, Action.CHANGE_COMMENT, Owned(comment["owner_id"]))
        if body is not None:
            reached = reach_values(user, Action.CHANGE_COMMENT)
            await connection.execute(UPDATE, {"id": comment_id, "body": body, **reached})
        return await comment_by_id(connection, deleted_authors, comment_id)
