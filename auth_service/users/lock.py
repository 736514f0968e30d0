"""Lock a living user's row: where every use case that changes him begins."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.model import NoSuchUser, User
from auth_service.users.table import to_user, users


async def locked_user(connection: AsyncConnection, user_id: UUID) -> User:
    """The living user, his row locked until the transaction ends; raises ``NoSuchUser``."""
    return to_user(await locked_row(connection, user_id))


async def locked_row(connection: AsyncConnection, user_id: UUID) -> Row[Any]:
    """The same with all columns, the password's hash among them.

    No use case changes a tombstone: that is checked here, under the lock.

    Raises:
        NoSuchUser: there is none, or he was deleted.
    """
    query = select(users).where(users.c.id == user_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None or row.status == "deleted":
        raise NoSuchUser
    return row
