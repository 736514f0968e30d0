"""End sessions, in the caller's transaction.

Guarantees: an ended session cannot be refreshed, and this service refuses its access tokens at
once. Other services refuse them only if the caller also moves ``tokens_valid_after``.
"""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, delete, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.sessions.table import sessions


class EndReason(StrEnum):
    """Why a session ended."""

    SIGNED_OUT = "signed_out"
    TOKEN_REUSED = "token_reused"  # noqa: S105 - a name, no secret
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name, no secret
    DISABLED = "disabled"
    PROMOTED = "promoted"
    REVOKED = "revoked"
    EMAIL_RESTORED = "email_restored"
    TOO_MANY = "too_many"
    RESTORED = "restored"


async def end_sessions(
    connection: AsyncConnection,
    user_id: UUID,
    reason: EndReason,
    *,
    only: UUID | None = None,
    but: UUID | None = None,
) -> int:
    """End the user's sessions: all, ``only`` one, or all ``but`` one; return how many.

    To end several, the caller has locked the user's row. Otherwise two transactions that each end
    several sessions could wait for each other.
    """
    ending = (
        update(sessions)
        .where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None))
        .values(ended_at=func.now(), end_reason=reason)
    )
    if only is not None:
        ending = ending.where(sessions.c.id == only)
    if but is not None:
        ending = ending.where(sessions.c.id != but)
    return (await connection.execute(ending)).rowcount


async def end_sessions_of(
    connection: AsyncConnection, user_ids: Sequence[UUID], reason: EndReason
) -> int:
    """End the sessions of many users whose rows the caller has locked; return how many."""
    ending = (
        update(sessions)
        .where(
            sessions.c.user_id == any_(bindparam("users", user_ids, type_=ARRAY(Uuid))),
            sessions.c.ended_at.is_(None),
        )
        .values(ended_at=func.now(), end_reason=reason)
    )
    return (await connection.execute(ending)).rowcount


async def erase_sessions(connection: AsyncConnection, user_id: UUID) -> None:
    """Erase all sessions of a user who is being deleted, with the names of their devices."""
    await connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
