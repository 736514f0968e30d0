"""Change a user's profile."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.authorization import require
from blog_service.policy import Action, Owned
from blog_service.profiles.read import user_with_profile
from blog_service.profiles.table import profiles
from blog_service.users.row_lock import lock_user
from replica.caller import ReplicaUser
from service_kit.http.bearer import invalid_token


async def change_profile(
    engine: AsyncEngine, caller: ReplicaUser, changes: Mapping[str, str | None]
) -> Row[Any]:
    """Change the caller's profile and return them with it; a null in ``changes`` clears a field.

    Raises:
        Problem: the caller was deleted (401) or disabled (403) meanwhile.
    """
    async with engine.begin() as connection:
        user = await lock_user(connection, caller)
        require(user, Action.CHANGE_PROFILE, Owned(user.id))
        if changes:
            row = insert(profiles).values(user_id=user.id, **changes)
            changed = {**changes, "updated_at": func.now()}
            await connection.execute(
                row.on_conflict_do_update(index_elements=[profiles.c.user_id], set_=changed)
            )
        found = await user_with_profile(connection, user.id)
    if found is None:
        raise invalid_token()
    return found
