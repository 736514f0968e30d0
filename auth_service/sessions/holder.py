"""Whom an access token still speaks for, by his row and his session's as they are now.

Guarantees: one query; a session whose row is gone has ended, too.
"""

from sqlalchemy import Uuid, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.sessions.table import sessions
from auth_service.users.model import User
from auth_service.users.table import to_user, users
from contracts.tokens import AccessToken

# Built once: building it costs more than running it.
_LOOK = (
    select(users, (sessions.c.id.is_not(None) & sessions.c.ended_at.is_(None)).label("lasts"))
    .outerjoin(
        sessions,
        (sessions.c.id == bindparam("session_id", type_=Uuid)) & (sessions.c.user_id == users.c.id),
    )
    .where(users.c.id == bindparam("holder_id", type_=Uuid), users.c.status != "deleted")
)


async def holder_of(connection: AsyncConnection, token: AccessToken) -> User | None:
    """The living user of a verified token; None when he is gone, or the token was revoked.

    A disabled user is returned whatever became of his tokens, so that he can be told.
    """
    values = {"holder_id": token.user_id, "session_id": token.session_id}
    row = (await connection.execute(_LOOK, values)).one_or_none()
    if row is None:
        return None
    valid_after = row.tokens_valid_after
    is_revoked = valid_after is not None and token.issued_at < valid_after.timestamp()
    has_ended = token.session_id is not None and not row.lasts
    if row.status == "active" and (is_revoked or has_ended):
        return None
    return to_user(row)
