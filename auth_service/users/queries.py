"""Find users for those who administer them: one, or a page of all. Tombstones are nobody."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.model import NoSuchUser, User, normalised_email
from auth_service.users.table import to_user, users

_LIVING = select(users).where(users.c.status != "deleted")


async def find_user(connection: AsyncConnection, user_id: UUID) -> User:
    """The living user with this id; raises ``NoSuchUser``."""
    row = (await connection.execute(_LIVING.where(users.c.id == user_id))).one_or_none()
    if row is None:
        raise NoSuchUser
    return to_user(row)


async def find_by_email(connection: AsyncConnection, email: str) -> User | None:
    """The user with exactly this address, however it is spelled; raises ``BadEmail``."""
    query = _LIVING.where(users.c.email == normalised_email(email))
    row = (await connection.execute(query)).one_or_none()
    return to_user(row) if row else None


async def find_users(
    connection: AsyncConnection, *, after: UUID | None, limit: int
) -> Sequence[User]:
    """Users in the order of their ids, the first ``limit`` of those ``after`` one.

    The order says nothing, and never changes: whoever is there from the first page to the last is
    on exactly one of them.
    """
    query = _LIVING.order_by(users.c.id).limit(limit)
    if after is not None:
        query = query.where(users.c.id > after)
    return [to_user(row) for row in await connection.execute(query)]


async def is_tombstone(connection: AsyncConnection, user_id: UUID) -> bool:
    """Whether there was a user with this id, who was deleted."""
    query = select(exists().where(users.c.id == user_id, users.c.status == "deleted"))
    return bool(await connection.scalar(query))
