"""Change columns of a user whose row is locked: the next version and the event with it."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.record import record
from auth_service.users.model import User, VersionsExhausted
from auth_service.users.table import NEXT_VERSION, to_user, users
from contracts.events import VERSION_MAX, UserUpdated


async def change(connection: AsyncConnection, user_id: UUID, **columns: Any) -> User:
    """Set ``columns`` of the user and record ``user.updated``; the caller has locked his row.

    Returns:
        The user as they are from then on.

    Raises:
        VersionsExhausted: no version is left for the change.
    """
    changed = await connection.execute(
        update(users)
        # Asked here, for the row in the error of a refused one would end in PostgreSQL's log.
        .where(users.c.id == user_id, users.c.version < VERSION_MAX)
        .values(version=NEXT_VERSION, updated_at=func.now(), **columns)
        .returning(users)
    )
    row = changed.one_or_none()
    if row is None:
        raise VersionsExhausted
    user = to_user(row)
    await record(connection, UserUpdated.type, user.state())
    return user
