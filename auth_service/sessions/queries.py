"""Read sessions: those of a user that are live, and the user behind an access token."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Uuid, and_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.sessions.model import Limits, Session
from auth_service.sessions.table import sessions
from auth_service.settings import ApiSettings
from auth_service.users.model import User
from auth_service.users.table import to_user, users
from contracts.tokens import AccessToken

# Built once: building it costs more than running it.
_USER_OF_TOKEN = (
    select(users, (sessions.c.id.is_not(None) & sessions.c.ended_at.is_(None)).label("is_open"))
    .outerjoin(
        sessions,
        (sessions.c.id == bindparam("session_id", type_=Uuid)) & (sessions.c.user_id == users.c.id),
    )
    .where(users.c.id == bindparam("token_user_id", type_=Uuid), users.c.status != "deleted")
)


def session_limits(settings: ApiSettings) -> Limits:
    """How long sessions last and how many a user has, from the settings."""
    return Limits(
        idle=timedelta(seconds=settings.session_idle_seconds),
        absolute=timedelta(seconds=settings.session_absolute_seconds),
        grace=timedelta(seconds=settings.refresh_grace_seconds),
        per_user=settings.sessions_per_user_max,
    )


def is_live(limits: Limits) -> ColumnElement[bool]:
    """Express ``Session.expires_at`` and ``ended_at`` as a condition on rows."""
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
        authenticated_at=row.authenticated_at or row.created_at,
        user_agent=row.user_agent,
    )


async def live_sessions(
    connection: AsyncConnection, user_id: UUID, limits: Limits
) -> Sequence[Session]:
    """The user's live sessions, last refreshed first; at most ``limits.per_user``."""
    query = (
        select(sessions)
        .where(sessions.c.user_id == user_id, is_live(limits))
        .order_by(sessions.c.refreshed_at.desc(), sessions.c.id)
        .limit(limits.per_user)
    )
    return [to_session(row) for row in await connection.execute(query)]


async def user_of_token(connection: AsyncConnection, token: AccessToken) -> User | None:
    """Resolve a verified access token to its user, by one query.

    A disabled user is returned even if the token was revoked, so that they can be told so. A
    session without a row has ended.

    Returns:
        None if the user was deleted, or is active and the token was revoked.
    """
    values = {"token_user_id": token.user_id, "session_id": token.session_id}
    row = (await connection.execute(_USER_OF_TOKEN, values)).one_or_none()
    if row is None:
        return None
    valid_after = row.tokens_valid_after
    is_revoked = valid_after is not None and token.issued_at < valid_after.timestamp()
    has_ended = token.session_id is not None and not row.is_open
    if row.status == "active" and (is_revoked or has_ended):
        return None
    return to_user(row)
