"""Refresh a session: exchange its refresh token for the next one (RFC 9700 4.14.2).

Guarantees: a refresh token works once. Concurrent requests, and repetitions of a request whose
response was lost, get the same successor within the grace period. A token used again after that is
in two hands: the session ends, and all earlier access tokens of the user are refused, here at once
and elsewhere with the event. That is committed although the request is refused.

A refresh locks only the session's row and waits for no other lock while it has that. Code that
locks several sessions of a user, or a session and the user, locks the user's row first. So there is
no deadlock.
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
    """A refreshed session: its user, and its next refresh token.

    ``at``: when the user was known to be entitled to an access token, by PostgreSQL's clock.
    ``authenticated_at``: when the password was last given, which no refresh changes.
    """

    user: User
    session_id: UUID
    refresh_token: str
    at: datetime
    authenticated_at: datetime


async def refresh_session(auth: Context, token: str) -> Refreshed:
    """Exchange ``token`` for its successor.

    Raises:
        InvalidGrant: the token was not issued here or was used before, its session has ended, or
            its user may not sign in.
    """
    session_id, counter = read_refresh_token(auth.secrets, token)
    async with auth.engine.begin() as connection:
        session, verdict, now = await _lock_live(
            connection, session_id, counter, session_limits(auth.settings)
        )
        # Read after the session is locked: ending it would have changed the user first.
        user = await _active_user(connection, session.user_id)
        if verdict is Verdict.NEXT:
            await _rotate(connection, session)
    if verdict is Verdict.REUSED:
        await _revoke_stolen(auth, session, counter)
        raise InvalidGrant
    user = await reset_future_validity_alone(auth.engine, user, at=now)
    return Refreshed(
        user,
        session_id,
        make_refresh_token(auth.secrets, session_id, counter + 1),
        at=now,
        authenticated_at=session.authenticated_at,
    )


async def refresh_within_limit(
    auth: Context, token: str, *, network: str
) -> tuple[Refreshed, dict[str, str]]:
    """Do the same within the limit of the client's network; return the rate-limit headers as well.

    An invalid token is refused as such even beyond the limit: its user must sign in again, and not
    wait.

    Raises:
        InvalidGrant: as for ``refresh_session``.
        TooManyRequests: the limit is spent, and the token is valid.
    """
    charges = network_charges("refresh", network, auth.settings.limit_refresh)
    try:
        headers = await auth.throttle.spend(*charges)
    except TooManyRequests:
        if await _is_valid(auth, token):
            raise
        headers = {}  # the refusal below is final
    return await refresh_session(auth, token), headers


async def end_session_of_token(auth: Context, token: str) -> bool:
    """End the session of a refresh token, even of an old one (RFC 7009 2.1).

    As in a refresh, an old token shows that two parties have it.

    Returns:
        Whether a session ended: False for a text that is not a refresh token of this service.
    """
    limits = session_limits(auth.settings)
    try:
        session_id, counter = read_refresh_token(auth.secrets, token)
        async with auth.engine.begin() as connection:
            session, verdict, _ = await _lock_session(connection, session_id, counter, limits)
            if verdict is not Verdict.REUSED:
                user_id = session.user_id
                ended = await end_sessions(connection, user_id, EndReason.REVOKED, only=session_id)
                return bool(ended)
        await _revoke_stolen(auth, session, counter)
    except InvalidGrant:
        return False
    return True


async def _is_valid(auth: Context, token: str) -> bool:
    """Whether ``refresh_session`` would return a successor; changes nothing."""
    limits = session_limits(auth.settings)
    try:
        session_id, counter = read_refresh_token(auth.secrets, token)
        async with auth.engine.begin() as connection:
            session, verdict, _ = await _lock_live(connection, session_id, counter, limits)
            await _active_user(connection, session.user_id)
    except InvalidGrant:
        return False
    return verdict is not Verdict.REUSED


async def _lock_live(
    connection: AsyncConnection, session_id: UUID, counter: int, limits: Limits
) -> tuple[Session, Verdict, datetime]:
    """Do the same for a session that has not ended; raises ``InvalidGrant``."""
    session, verdict, now = await _lock_session(connection, session_id, counter, limits)
    if verdict is Verdict.OVER:
        raise InvalidGrant
    return session, verdict, now


async def _lock_session(
    connection: AsyncConnection, session_id: UUID, counter: int, limits: Limits
) -> tuple[Session, Verdict, datetime]:
    """Lock the session and judge its token, at the returned time; raises ``InvalidGrant``."""
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


async def _revoke_stolen(auth: Context, session: Session, counter: int) -> None:
    """End a session whose token two parties have, and revoke the user's access tokens.

    The user's row is locked before the session's, so the session is judged again: a concurrent
    request may have ended it.

    Raises:
        InvalidGrant: the session has ended in the meantime.
    """
    user_id = session.user_id
    async with auth.engine.begin() as connection:
        try:
            await lock_user(connection, user_id)
        except NoSuchUser:
            raise InvalidGrant from None
        await _lock_live(connection, session.id, counter, session_limits(auth.settings))
        await end_sessions(connection, user_id, EndReason.TOKEN_REUSED, only=session.id)
        with suppress(VersionsExhausted):  # the session ends nevertheless
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
