"""Write a post: users as themselves, services for an author."""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import require
from blog_service.limits import enforce_limit
from blog_service.policy import Action, Owned
from blog_service.posts.read import post_by_id
from blog_service.settings import ApiSettings
from blog_service.users.row_lock import lock_author, lock_user
from replica.actors import Service
from replica.caller import Caller
from service_kit.database.alone import RowLike

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
    """Write a post and return it.

    Parameters:
        engine: the blog's database.
        settings: the API's settings: limits, and whether content of deleted authors is visible.
        caller: the user or service that writes.
        author_id: the author; for a user, their own id.
        title: one line of plain text.
        body: plain text.

    Raises:
        Problem: the caller may not write (401, 403) or has reached the limit (429), or the author
            is unknown (422).
    """
    async with engine.begin() as connection:
        if isinstance(caller, Service):
            await lock_author(connection, author_id)
            require(caller, Action.WRITE_POST, Owned(author_id, caller.id))
        else:
            user = await lock_user(connection, caller, exclusive=True)
            require(user, Action.WRITE_POST, Owned(author_id))
            await enforce_limit(connection, "posts", author_id, settings.limit_posts)
        service_id = caller.id if isinstance(caller, Service) else None
        values = {"author_id": author_id, "title": title, "body": body, "service_id": service_id}
        post_id = (await connection.execute(_INSERT, values)).scalar_one()
        return await post_by_id(connection, settings.deleted_authors, post_id)
