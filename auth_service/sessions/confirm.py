"""Confirm a user's password in their present session.

Guarantees: only a live session of an active user is confirmed, and only by the password that is
theirs under the row's lock. No new session starts, and the present one does not last longer.
"""

from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import func, update

from auth_service.context import Context
from auth_service.sessions.queries import is_live, session_limits
from auth_service.sessions.table import sessions
from auth_service.users.model import AccountDisabled, User, WrongPassword
from auth_service.users.token_validity import reset_future_validity
from auth_service.users.transaction import lock_user_with_hash, verify_password

log = structlog.get_logger()


class SessionOver(Exception):
    """The session has ended or expired in the meantime."""


async def confirm_password(
    auth: Context, user_id: UUID, session_id: UUID, *, password: str
) -> tuple[User, datetime]:
    """Check the password, and store in the session that it was given now.

    Returns:
        The user, and the time as of which they may have an access token, by PostgreSQL's clock.

    Raises:
        WrongPassword: the password is not theirs.
        HashingBusy: too many passwords wait to be checked.
        NoSuchUser: they were deleted in the meantime.
        AccountDisabled: they were disabled in the meantime.
        SessionOver: their session was ended in the meantime.
    """
    try:
        matched = await verify_password(auth.engine, auth.passwords, user_id, password)
    except WrongPassword:
        log.info("authn_confirm_fail", user_id=str(user_id), session_id=str(session_id))
        raise
    async with auth.engine.begin() as connection:
        user = await lock_user_with_hash(connection, user_id, matched)
        if user.status != "active":
            raise AccountDisabled
        confirmed = await connection.execute(
            update(sessions)
            .where(
                sessions.c.id == session_id,
                sessions.c.user_id == user_id,
                is_live(session_limits(auth.settings)),
            )
            .values(authenticated_at=func.clock_timestamp())
            .returning(sessions.c.authenticated_at)
        )
        at: datetime | None = confirmed.scalar_one_or_none()
        if at is None:
            raise SessionOver
        user = await reset_future_validity(connection, user, at=at)
    log.info("authn_confirm_success", user_id=str(user_id), session_id=str(session_id))
    return user, at
