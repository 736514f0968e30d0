"""Refresh a session: the next refresh token for the present one (RFC 9700 4.14.2).

Guarantees: a refresh token is good once. Requests that cross each other, or repeat one whose answer
was lost, get the same successor within the grace period. A token that comes back after it was in
two hands, and ends the session for both of them; that end is committed although the request is
refused.

A refresh locks one row, that of the session, and waits for no other while it holds it; whoever
locks several sessions of a user holds the lock of his row. So nobody ever waits in a circle.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.sessions.live import to_session
from auth_service.sessions.model import Limits, Session, Verdict, judge
from auth_service.sessions.refresh_token import InvalidGrant, make, read
from auth_service.sessions.table import sessions
from auth_service.throttle.network import by_network
from auth_service.throttle.throttle import TooManyRequests
from auth_service.users.model import User
from auth_service.users.table import to_user, users

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A session that goes on: its user as he is now, and its next refresh token.

    ``at``: the time, by PostgreSQL's clock, as of which he may have an access token.
    """

    user: User
    session_id: UUID
    refresh_token: str
    at: datetime


async def refresh(auth: Context, token: str) -> Refreshed:
    """Take ``token`` for its successor.

    Raises:
        InvalidGrant: it is none of ours, its session is over, its user may not sign in, or it was
            used before.
    """
    session_id, counter = read(auth.secrets, token)
    async with auth.engine.begin() as connection:
        session, verdict, now = await _judged(
            connection, session_id, counter, auth.settings.session_limits
        )
        # Read after the session is locked: whoever ended it would have changed the user before.
        user = await _active_user(connection, session.user_id)
        if verdict is Verdict.NEXT:
            await _rotate(connection, session)
        elif verdict is Verdict.REUSED:
            await _end_family(connection, session)
    if verdict is Verdict.REUSED:
        log.warning("authn_token_reuse", session_id=str(session_id), user_id=str(session.user_id))
        raise InvalidGrant
    return Refreshed(user, session_id, make(auth.secrets, session_id, counter + 1), now)


async def refresh_within_limit(
    auth: Context, token: str, *, network: str
) -> tuple[Refreshed, dict[str, str]]:
    """The same, spending from the limit of the caller's network; the headers that tell of it.

    A token that is worth nothing is told so even beyond the limit: its user has to sign in again,
    and must not be sent away to wait.

    Raises:
        InvalidGrant: as ``refresh``.
        TooManyRequests: the limit is spent, and the token would have got a successor.
    """
    charges = by_network("refresh", network, auth.settings.limit_refresh)
    try:
        headers = await auth.throttle.spend(*charges)
    except TooManyRequests:
        if await _is_good(auth, token):
            raise
        headers = {}  # to be refused for good
    return await refresh(auth, token), headers


async def end_session_of(auth: Context, token: str) -> bool:
    """End the session that any of its refresh tokens, an old one even, names (RFC 7009 2.1).

    Returns:
        Whether there was a live one: False for a text that is no refresh token of ours.
    """
    try:
        session_id, _ = read(auth.secrets, token)
    except InvalidGrant:
        return False
    async with auth.engine.begin() as connection:
        user_id = await connection.scalar(
            select(sessions.c.user_id).where(sessions.c.id == session_id)
        )
        if user_id is None:
            return False
        return bool(await end_sessions(connection, user_id, EndReason.REVOKED, only=session_id))


async def _is_good(auth: Context, token: str) -> bool:
    """Whether ``refresh`` would have a successor for it; changes nothing."""
    limits = auth.settings.session_limits
    try:
        session_id, counter = read(auth.secrets, token)
        async with auth.engine.begin() as connection:
            session, verdict, _ = await _judged(connection, session_id, counter, limits)
            await _active_user(connection, session.user_id)
    except InvalidGrant:
        return False
    return verdict is not Verdict.REUSED


async def _judged(
    connection: AsyncConnection, session_id: UUID, counter: int, limits: Limits
) -> tuple[Session, Verdict, datetime]:
    """The session, its row locked, and what its token is worth; raises ``InvalidGrant``."""
    query = (
        select(sessions, func.clock_timestamp().label("now"))
        .where(sessions.c.id == session_id)
        .with_for_update()
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise InvalidGrant
    session = to_session(row)
    verdict = judge(session, counter, now=row.now, limits=limits)
    if verdict is Verdict.OVER:
        raise InvalidGrant
    return session, verdict, row.now


async def _active_user(connection: AsyncConnection, user_id: UUID) -> User:
    query = select(users).where(users.c.id == user_id, users.c.status == "active")
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise InvalidGrant
    return to_user(row)


async def _rotate(connection: AsyncConnection, session: Session) -> None:
    await connection.execute(
        update(sessions)
        .where(sessions.c.id == session.id)
        .values(counter=session.counter + 1, refreshed_at=func.clock_timestamp())
    )


async def _end_family(connection: AsyncConnection, session: Session) -> None:
    await end_sessions(connection, session.user_id, EndReason.TOKEN_REUSED, only=session.id)
    await audit(
        connection,
        Action.TOKEN_REUSED,
        actor=ANONYMOUS,
        subject=session.user_id,
        session_id=str(session.id),
    )
