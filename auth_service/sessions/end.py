"""End sessions, in the caller's transaction.

Guarantees: an ended session refreshes no more and its access tokens are refused by this service at
once. Other services learn of it when ``tokens_valid_after`` moves too, which is the caller's to
decide.
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
    """End the user's live sessions: all, ``only`` one, or all ``but`` one; how many there were.

    Unless it is only one, the caller holds the lock of the user's row: two who end several sessions
    at a time would otherwise wait for each other.
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
    """End the sessions of many users, whose rows the caller has locked; how many there were."""
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
    """Forget all sessions of a user who is being deleted, and the devices that they name."""
    await connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
