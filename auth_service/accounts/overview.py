"""Gather what is known of a user, for an operator."""

from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit.model import Action
from auth_service.audit.queries import audit_entries
from auth_service.sessions.table import sessions
from auth_service.users.model import NoSuchUser
from auth_service.users.queries import find_by_email
from auth_service.users.table import users

ENTRIES_SHOWN: Final = 10
"""Latest audit entries about the user, except that they were looked at; ``/v1/admin/audit`` has all
of them."""

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


async def overview(connection: AsyncConnection, id_or_email: str) -> dict[str, Any]:
    """Read the user, the number of their sessions that have not ended, and their audit entries.

    Parameters:
        id_or_email: the id, also of a deleted user, or the e-mail address.

    Raises:
        NoSuchUser: there is no such user.
        BadEmail: the text is neither an id nor an address.
    """
    user_id = await _id_of(connection, id_or_email)
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
            for entry in await audit_entries(
                connection,
                subject=str(user_id),
                limit=ENTRIES_SHOWN,
                without=Action.USER_VIEWED,
            )
        ],
    }


async def _id_of(connection: AsyncConnection, id_or_email: str) -> UUID:
    try:
        return UUID(id_or_email)
    except ValueError:
        user = await find_by_email(connection, id_or_email)
    if user is None:
        raise NoSuchUser
    return user.id
