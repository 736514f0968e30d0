"""Write a post: a user for himself, a service for an author."""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import require
from blog_service.limits import demand_room
from blog_service.policy import Action, Owned, Service
from blog_service.posts.read import post_by_id
from blog_service.settings import ApiSettings
from blog_service.users.row_lock import lock_author, lock_user
from replica.caller import Caller
from service_kit.database.reader import RowLike

_INSERT: Final = text(
    "INSERT INTO posts (author_id, title, body, service_id)"
    " VALUES (:author_id, :title, :body, :service_id) RETURNING id"
)


async def write_post(
    engine: AsyncEngine,
    settings: ApiSettings,
    caller: Caller,
    *,
    author_id: UUID,
    title: str,
    body: str,
) -> RowLike:
    """The new post.

    Parameters:
        engine: the blog's database.
        settings: how much a user may write, and what readers see.
        caller: who writes.
        author_id: for whom; a user for himself alone.
        title: one line.
        body: plain text.

    Raises:
        Problem: he may not, or not yet again; or there is no such author.
    """
    async with engine.begin() as connection:
        if isinstance(caller, Service):
            await lock_author(connection, author_id)
            require(caller, Action.WRITE_POST, Owned(author_id, caller.id))
        else:
            user = await lock_user(connection, caller, alone=True)
            require(user, Action.WRITE_POST, Owned(author_id))
            await demand_room(connection, "posts", author_id, settings.limit_posts)
        service_id = caller.id if isinstance(caller, Service) else None
        values = {"author_id": author_id, "title": title, "body": body, "service_id": service_id}
        post_id = (await connection.execute(_INSERT, values)).scalar_one()
        return await post_by_id(connection, settings.deleted_authors, post_id)
