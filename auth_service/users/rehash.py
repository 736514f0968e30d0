"""Upgrade a stored password hash to today's parameters, while the password is at hand."""

from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.users.passwords import Passwords
from auth_service.users.table import users


async def upgrade_hash(
    engine: AsyncEngine, passwords: Passwords, user_id: UUID, *, password: str, password_hash: str
) -> str:
    """Store a new hash if ``password_hash`` has outdated parameters.

    Nothing that others know of the user changes, so there is no version and no event. A hash that
    was changed in the meantime stays.

    Returns:
        The stored hash.

    Raises:
        HashingBusy: too many passwords wait to be hashed.
    """
    if not passwords.needs_rehash(password_hash):
        return password_hash
    new_hash = await passwords.hash(password)
    async with engine.begin() as connection:
        updated = await connection.execute(
            update(users)
            .where(users.c.id == user_id, users.c.password_hash == password_hash)
            .values(password_hash=new_hash)
        )
    return new_hash if updated.rowcount else password_hash
