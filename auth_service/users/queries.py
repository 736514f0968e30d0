"""Find living users, for administration: one, or a page of all."""

from collections.abc import Collection, Sequence
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
    """The user with this address, in any spelling; raises ``BadEmail``."""
    query = _LIVING.where(users.c.email == normalised_email(email))
    row = (await connection.execute(query)).one_or_none()
    return to_user(row) if row else None


async def find_users(
    connection: AsyncConnection, *, after: UUID | None, limit: int
) -> Sequence[User]:
    """The first ``limit`` users after an id, in the order of ids.

    That order means nothing and never changes: a user who exists from the first page to the last
    is on exactly one of them.
    """
    query = _LIVING.order_by(users.c.id).limit(limit)
    if after is not None:
        query = query.where(users.c.id > after)
    return [to_user(row) for row in await connection.execute(query)]


async def addresses_of(connection: AsyncConnection, user_ids: Collection[UUID]) -> dict[UUID, str]:
    """The addresses of those users who are living."""
    query = _LIVING.with_only_columns(users.c.id, users.c.email).where(users.c.id.in_(user_ids))
    return {row.id: row.email for row in await connection.execute(query)}


async def is_tombstone(connection: AsyncConnection, user_id: UUID) -> bool:
    """Whether a user with this id was deleted."""
    query = select(exists().where(users.c.id == user_id, users.c.status == "deleted"))
    return bool(await connection.scalar(query))
