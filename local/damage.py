"""Damage the replica by hand, as nothing but a mistake or an attack does: past the services.

Guarantees: only simulated people are damaged (``traffic``), never a user that someone else made.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from local.traffic import ADDRESSES

_SOMEONE_ELSES: Final = "mallory@example.org"

_SIMULATED: Final = text(
    "SELECT id FROM users WHERE status = 'active' AND email LIKE :addresses"
    " ORDER BY created_at LIMIT :count"
)
"""The oldest first: simulated people who have left did so right after their sign-up."""

_DELETE: Final = text("DELETE FROM users WHERE id = :id")
_EDIT: Final = text("UPDATE users SET email = :email WHERE id = :id")
_ADD: Final = text(
    "INSERT INTO users (id, version, status, email, email_verified, created_at, updated_at)"
    " VALUES (:id, 1, 'active', :email, false, now(), now())"
)


async def simulated_people(connection: AsyncConnection, count: int) -> Sequence[UUID]:
    """Return the ids of up to ``count`` living simulated people in the replica."""
    rows = await connection.execute(_SIMULATED, {"addresses": ADDRESSES, "count": count})
    return [row.id for row in rows]


async def delete_row(connection: AsyncConnection, user_id: UUID) -> None:
    """Delete a user's row: the source has them, the replica no longer has."""
    await connection.execute(_DELETE, {"id": user_id})


async def edit_row(connection: AsyncConnection, user_id: UUID) -> None:
    """Give a user another address, and leave the version as it is."""
    await connection.execute(_EDIT, {"id": user_id, "email": _SOMEONE_ELSES})


async def add_row(connection: AsyncConnection) -> UUID:
    """Add a user that the source never had; return their id."""
    user_id = uuid4()
    await connection.execute(_ADD, {"id": user_id, "email": _SOMEONE_ELSES})
    return user_id
