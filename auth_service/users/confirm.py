"""Confirm a change by password, without holding a lock while the password is hashed.

The hash is read and checked first; the transaction then locks the row and asks whether it is still
the same hash. A password changed or an account deleted in between is noticed there.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.users.lock import locked_row
from auth_service.users.model import User, WrongPassword
from auth_service.users.passwords import Passwords
from auth_service.users.table import to_user, users


async def confirmed_password(
    engine: AsyncEngine, passwords: Passwords, user_id: UUID, password: str
) -> str:
    """The hash that ``password`` matches; raises ``WrongPassword`` or ``HashingBusy``."""
    async with engine.connect() as connection:
        query = select(users.c.password_hash).where(users.c.id == user_id)
        password_hash: str | None = await connection.scalar(query)
    if not await passwords.matches(password, password_hash) or password_hash is None:
        raise WrongPassword
    return password_hash


async def locked(connection: AsyncConnection, user_id: UUID, password_hash: str) -> User:
    """The living user, his row locked until the transaction ends.

    Raises:
        NoSuchUser: he was deleted meanwhile.
        WrongPassword: his password is no longer the confirmed one.
    """
    row = await locked_row(connection, user_id)
    if row.password_hash != password_hash:
        raise WrongPassword
    return to_user(row)
