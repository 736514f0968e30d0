"""Write a comment.

Guarantees: the post is there when the comment is committed, for its row is held; who deletes it
afterwards, or erases it with its author, finds the comment.
"""

from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import require
from blog_service.comments.read import comment_by_id, shown_post_sql
from blog_service.limits import demand_room
from blog_service.policy import Action, Owned
from blog_service.settings import ApiSettings, DeletedAuthors
from blog_service.users.row_lock import lock_user
from replica.caller import ReplicaUser
from service_kit.database.reader import RowLike
from service_kit.http import problems
from service_kit.http.problems import Problem

_INSERT: Final = text(
    "INSERT INTO comments (post_id, author_id, body) VALUES (:post_id, :author_id, :body)"
    " RETURNING id"
)


async def write_comment(
    engine: AsyncEngine, settings: ApiSettings, caller: ReplicaUser, post_id: UUID, *, body: str
) -> RowLike:
    """The new comment.

    Raises:
        Problem: there is no such post that is shown (404), or the caller may not, or not yet again.
    """
    async with engine.begin() as connection:
        user = await lock_user(connection, caller, alone=True)
        require(user, Action.WRITE_COMMENT, Owned(user.id))
        held = await connection.execute(_hold_post(settings.deleted_authors), {"id": post_id})
        if held.one_or_none() is None:
            raise Problem(problems.NOT_FOUND)
        await demand_room(connection, "comments", user.id, settings.limit_comments)
        values = {"post_id": post_id, "author_id": user.id, "body": body}
        comment_id = (await connection.execute(_INSERT, values)).scalar_one()
        return await comment_by_id(connection, settings.deleted_authors, comment_id)


@cache
def _hold_post(shown: DeletedAuthors) -> TextClause:
    return text(f"{shown_post_sql(shown, ':id')} FOR SHARE OF post")
