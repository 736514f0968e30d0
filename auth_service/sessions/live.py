"""The sessions of a user that live: those that he could still refresh."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.sessions.model import Limits, Session
from auth_service.sessions.table import sessions


def is_live(limits: Limits) -> ColumnElement[bool]:
    """``Session.expires_at`` and ``ended_at`` as a condition on rows."""
    return and_(
        sessions.c.ended_at.is_(None),
        sessions.c.refreshed_at > func.now() - limits.idle,
        sessions.c.created_at > func.now() - limits.absolute,
    )


def to_session(row: Row[Any]) -> Session:
    """The session in ``row``, which has all columns of the table."""
    return Session(
        id=row.id,
        user_id=row.user_id,
        counter=row.counter,
        created_at=row.created_at,
        refreshed_at=row.refreshed_at,
        ended_at=row.ended_at,
        user_agent=row.user_agent,
    )


async def live_sessions(
    connection: AsyncConnection, user_id: UUID, limits: Limits
) -> Sequence[Session]:
    """The user's live sessions, the one refreshed last first; there are ``limits.per_user``."""
    query = (
        select(sessions)
        .where(sessions.c.user_id == user_id, is_live(limits))
        .order_by(sessions.c.refreshed_at.desc(), sessions.c.id)
        .limit(limits.per_user)
    )
    return [to_session(row) for row in await connection.execute(query)]
