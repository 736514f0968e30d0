"""All that is known of a user, for an operator who was asked about him."""

from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit.queries import audit_entries
from auth_service.sessions.table import sessions
from auth_service.users.model import NoSuchUser
from auth_service.users.queries import find_by_email
from auth_service.users.table import users

ENTRIES_SHOWN: Final = 10
"""The latest of what was done to him; all of it is behind ``/v1/admin/audit``."""

_SHOWN: Final = (
    "id",
    "email",
    "email_verified",
    "roles",
    "status",
    "version",
    "tokens_valid_after",
    "created_at",
    "updated_at",
)
_SHOWN_OF_A_TOMBSTONE: Final = ("id", "status", "version", "deleted_at")


async def overview(connection: AsyncConnection, name: str) -> dict[str, Any]:
    """The user, how many of his sessions have not ended, and what was done to him last.

    Parameters:
        connection: to read with.
        name: his id, also of one who was deleted, or his e-mail address.

    Raises:
        NoSuchUser: there is none.
        BadEmail: it is neither an id nor an address.
    """
    user_id = await _id_of(connection, name)
    query = select(users).where(users.c.id == user_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NoSuchUser
    shown = _SHOWN_OF_A_TOMBSTONE if row["status"] == "deleted" else _SHOWN
    not_ended = select(func.count()).where(
        sessions.c.user_id == user_id, sessions.c.ended_at.is_(None)
    )
    return {
        **{column: row[column] for column in shown},
        "sessions": await connection.scalar(not_ended),
        "audit": [
            asdict(entry)
            for entry in await audit_entries(connection, subject=str(user_id), limit=ENTRIES_SHOWN)
        ],
    }


async def _id_of(connection: AsyncConnection, name: str) -> UUID:
    try:
        return UUID(name)
    except ValueError:
        user = await find_by_email(connection, name)
    if user is None:
        raise NoSuchUser
    return user.id
