"""Refresh a session: the next refresh token for the present one (RFC 9700 4.14.2).

Guarantees: a refresh token is good once. Requests that cross each other, or repeat one whose answer
was lost, get the same successor within the grace period. A token that comes back after it was in
two hands, and is cut off for both of them: the session ends, and every access token of the user
from before is refused, here at once and elsewhere with the event. That is committed although the
request is refused.

A refresh locks one row, that of the session, and waits for no other while it holds it; whoever
locks several sessions of a user, or a session and the user, locks the user's row first. So nobody
ever waits in a circle.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.letters import Purpose
from auth_service.mail.request import request_mail
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.sessions.model import Limits, Session, Verdict, judge
from auth_service.sessions.queries import session_limits, to_session
from auth_service.sessions.refresh_token import InvalidGrant, make_refresh_token, read_refresh_token
from auth_service.sessions.table import sessions
from auth_service.throttle.network import network_charges
from auth_service.throttle.throttle import TooManyRequests
from auth_service.users.model import NoSuchUser, User, VersionsExhausted
from auth_service.users.table import TOKENS_VALID_FROM_NOW, to_user, users
from auth_service.users.token_validity import reset_future_validity_alone
from auth_service.users.transaction import change_user, lock_user

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


async def refresh_session(auth: Context, token: str) -> Refreshed:
    """Take ``token`` for its successor.

    Raises:
        InvalidGrant: it is none of ours, its session is over, its user may not sign in, or it was
            used before.
    """
    session_id, counter = read_refresh_token(auth.secrets, token)
    async with auth.engine.begin() as connection:
        session, verdict, now = await _judged(
            connection, session_id, counter, session_limits(auth.settings)
        )
        # Read after the session is locked: whoever ended it would have changed the user before.
        user = await _active_user(connection, session.user_id)
        if verdict is Verdict.NEXT:
            await _rotate(connection, session)
    if verdict is Verdict.REUSED:
        await _cut_off(auth, session, counter)
        raise InvalidGrant
    user = await reset_future_validity_alone(auth.engine, user, at=now)
    return Refreshed(
        user, session_id, make_refresh_token(auth.secrets, session_id, counter + 1), now
    )


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
    charges = network_charges("refresh", network, auth.settings.limit_refresh)
    try:
        headers = await auth.throttle.spend(*charges)
    except TooManyRequests:
        if await _is_good(auth, token):
            raise
        headers = {}  # to be refused for good
    return await refresh_session(auth, token), headers


async def end_session_of_token(auth: Context, token: str) -> bool:
    """End the session that any of its refresh tokens, an old one even, names (RFC 7009 2.1).

    An old one is as much of a sign that two have it as it is where sessions are refreshed.

    Returns:
        Whether there was a live one: False for a text that is no refresh token of ours.
    """
    limits = session_limits(auth.settings)
    try:
        session_id, counter = read_refresh_token(auth.secrets, token)
        async with auth.engine.begin() as connection:
            session, verdict, _ = await _look(connection, session_id, counter, limits)
            if verdict is not Verdict.REUSED:
                user_id = session.user_id
                ended = await end_sessions(connection, user_id, EndReason.REVOKED, only=session_id)
                return bool(ended)
        await _cut_off(auth, session, counter)
    except InvalidGrant:
        return False
    return True


async def _is_good(auth: Context, token: str) -> bool:
    """Whether ``refresh`` would have a successor for it; changes nothing."""
    limits = session_limits(auth.settings)
    try:
        session_id, counter = read_refresh_token(auth.secrets, token)
        async with auth.engine.begin() as connection:
            session, verdict, _ = await _judged(connection, session_id, counter, limits)
            await _active_user(connection, session.user_id)
    except InvalidGrant:
        return False
    return verdict is not Verdict.REUSED


async def _judged(
    connection: AsyncConnection, session_id: UUID, counter: int, limits: Limits
) -> tuple[Session, Verdict, datetime]:
    """As ``_look``, of a session that is not over; raises ``InvalidGrant``."""
    session, verdict, now = await _look(connection, session_id, counter, limits)
    if verdict is Verdict.OVER:
        raise InvalidGrant
    return session, verdict, now


async def _look(
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
    return session, judge(session, counter, now=row.now, limits=limits), row.now


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


async def _cut_off(auth: Context, session: Session, counter: int) -> None:
    """End a session whose token two have, and refuse the access tokens that came from it.

    The user's row is locked before the session's, so the session is judged once more: another
    request that noticed the same, or ended the session otherwise, has done all of it.

    Raises:
        InvalidGrant: the session has ended meanwhile.
    """
    user_id = session.user_id
    async with auth.engine.begin() as connection:
        try:
            await lock_user(connection, user_id)
        except NoSuchUser:
            raise InvalidGrant from None
        await _judged(connection, session.id, counter, session_limits(auth.settings))
        await end_sessions(connection, user_id, EndReason.TOKEN_REUSED, only=session.id)
        with suppress(VersionsExhausted):  # the session ends all the same
            await change_user(connection, user_id, tokens_valid_after=TOKENS_VALID_FROM_NOW)
        await audit(
            connection,
            Action.TOKEN_REUSED,
            actor=ANONYMOUS,
            subject=user_id,
            session_id=str(session.id),
        )
        if auth.mail is not None:
            await request_mail(connection, user_id, Purpose.TOKEN_REUSED)
    if auth.mail is not None:
        auth.mail.wake()
    log.warning("authn_token_reuse", session_id=str(session.id), user_id=str(user_id))
