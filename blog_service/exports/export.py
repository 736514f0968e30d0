"""Export what this service knows of a user (GDPR Articles 15 and 20).

Not here: what other services know; each exports its own part.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.comments.table import comments
from blog_service.posts.table import posts
from blog_service.profiles.table import profiles
from blog_service.users.table import users
from service_kit.database.streaming import streamed
from service_kit.process.archive import Archive

FOLDER: Final = "blog"

_README: Final = """\
What the blog knows of you.

user.json      the copy of your account that the blog has, as the auth service sent it last
profile.json   what you say of yourself; null if you have written nothing
posts.json     your posts; service_id names the program that sent one in your name
comments.json  your comments, with the id of the post that each is about

Not in it: posts and comments that you have deleted, which are erased. Times are UTC (RFC 3339).
"""

_USER: Final = (
    users.c.id,
    users.c.version,
    users.c.email,
    users.c.email_verified,
    users.c.roles,
    users.c.status,
    users.c.tokens_valid_after,
    users.c.created_at,
    users.c.updated_at,
    users.c.applied_at,
)


class NotHere(Exception):
    """This service has no such user, or they were deleted."""


async def export_user(connection: AsyncConnection, user_id: UUID, archive: Archive) -> None:
    """Write everything about a living user.

    Raises:
        NotHere: there is none with this id.
    """
    user = (
        (
            await connection.execute(
                select(*_USER).where(users.c.id == user_id, users.c.deleted_at.is_(None))
            )
        )
        .mappings()
        .one_or_none()
    )
    if user is None:
        raise NotHere
    profile = (
        (
            await connection.execute(
                select(
                    profiles.c.display_name,
                    profiles.c.bio,
                    profiles.c.avatar_url,
                    profiles.c.updated_at,
                ).where(profiles.c.user_id == user_id)
            )
        )
        .mappings()
        .one_or_none()
    )
    archive.add_readme(_README)
    archive.add("user", {**user})
    archive.add("profile", None if profile is None else {**profile})
    await archive.add_rows("posts", streamed(connection, _posts(user_id)))
    await archive.add_rows("comments", streamed(connection, _comments(user_id)))


def _posts(user_id: UUID) -> Select[Any]:
    return (
        select(
            posts.c.id,
            posts.c.title,
            posts.c.body,
            posts.c.service_id,
            posts.c.created_at,
            posts.c.updated_at,
        )
        .where(posts.c.author_id == user_id, posts.c.deleted_at.is_(None))
        .order_by(posts.c.position)
    )


def _comments(user_id: UUID) -> Select[Any]:
    return (
        select(
            comments.c.id,
            comments.c.post_id,
            comments.c.body,
            comments.c.created_at,
            comments.c.updated_at,
        )
        .where(comments.c.author_id == user_id)
        .order_by(comments.c.position)
    )
