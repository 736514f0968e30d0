"""Read a user together with their profile."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from blog_service.profiles.table import profiles
from blog_service.users.table import users

_USER: Final = select(
    users, profiles.c.display_name, profiles.c.bio, profiles.c.avatar_url
).select_from(users.outerjoin(profiles, profiles.c.user_id == users.c.id))


async def user_with_profile(connection: AsyncConnection, user_id: UUID) -> Row[Any] | None:
    """Return a user with their profile; None if the user is unknown or deleted."""
    query = _USER.where(users.c.id == user_id, users.c.deleted_at.is_(None))
    return (await connection.execute(query)).one_or_none()
