"""Write a comment.

Guarantees: the post exists when the comment is committed, because its row is locked. A later
deletion of the post, or erasure of its author, finds the comment.
"""

from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import require
from blog_service.comments.read import comment_by_id, shown_post_sql
from blog_service.limits import enforce_limit
from blog_service.policy import Action, Owned
from blog_service.settings import ApiSettings, DeletedAuthors
from blog_service.users.row_lock import lock_user
from replica.caller import ReplicaUser
from service_kit.database.alone import RowLike
from service_kit.http import problems
from service_kit.http.problems import Problem

_INSERT: Final = text(
    "INSERT INTO comments (post_id, author_id, body) VALUES (:post_id, :author_id, :body)"
    " RETURNING id"
)


async def write_comment(
    engine: AsyncEngine, settings: ApiSettings, caller: ReplicaUser, post_id: UUID, *, body: str
) -> RowLike:
    """Write a comment on a post and return it.

    Raises:
        Problem: no visible post has this id (404), the caller may not comment (401, 403), or has
            reached the limit (429).
    """
    async with engine.begin() as connection:
        user = await lock_user(connection, caller, exclusive=True)
        require(user, Action.WRITE_COMMENT, Owned(user.id))
        locked = await connection.execute(_lock_post(settings.deleted_authors), {"id": post_id})
        if locked.one_or_none() is None:
            raise Problem(problems.NOT_FOUND)
        await enforce_limit(connection, "comments", user.id, settings.limit_comments)
        values = {"post_id": post_id, "author_id": user.id, "body": body}
        comment_id = (await connection.execute(_INSERT, values)).scalar_one()
        return await comment_by_id(connection, settings.deleted_authors, comment_id)


@cache
def _lock_post(shown: DeletedAuthors) -> TextClause:
    return text(f"{shown_post_sql(shown, ':id')} FOR SHARE OF post")
