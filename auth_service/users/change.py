"""Change columns of a user whose row is locked: the next version and the event with it."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.record import record
from auth_service.users.model import User
from auth_service.users.table import NEXT_VERSION, to_user, users
from contracts.events import UserUpdated


async def change(connection: AsyncConnection, user_id: UUID, **columns: Any) -> User:
    """Set ``columns`` of the user and record ``user.updated``; the caller has locked his row.

    Returns:
        The user as he is from then on.
    """
    changed = await connection.execute(
        update(users)
        .where(users.c.id == user_id)
        .values(version=NEXT_VERSION, updated_at=func.now(), **columns)
        .returning(users)
    )
    user = to_user(changed.one())
    await record(connection, UserUpdated.type, user.state())
    return user
