"""Change a password and end everything that the old one started, in one transaction."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.accounts.limit_changes import spend_account_change
from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.erase import erase_links
from auth_service.mail.letters import Purpose
from auth_service.mail.request import request_mail
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.sessions.model import NewSession
from auth_service.sessions.queries import session_limits
from auth_service.sessions.start import start_session
from auth_service.users.model import AccountDisabled, User
from auth_service.users.table import NO_PENDING_EMAIL, TOKENS_VALID_FROM_NOW
from auth_service.users.transaction import change_user, lock_user_with_hash, verify_password
from service_kit.process.actors import user_actor


async def change_password(
    auth: Context, user: User, *, current: str, new: str, session: NewSession
) -> tuple[User, datetime]:
    """Give the user another password, and ``session`` in place of all their sessions.

    Where mail can be sent, a mail notifies them.

    Returns:
        The user after the change, and the time as of which they may have an access token.

    Raises:
        WeakPassword: the new password is too easy to guess.
        WrongPassword: the current password is not theirs.
        NoSuchUser: the user was deleted in the meantime.
        AccountDisabled: the user was disabled in the meantime.
        HashingBusy: too many passwords wait to be hashed.
        TooManyRequests: the account was changed too often.
    """
    length_min = auth.settings.password_length_min
    await auth.passwords.require_strong(new, email=user.email, length_min=length_min)
    current_hash = await verify_password(auth.engine, auth.passwords, user.id, current)
    await spend_account_change(auth, user.id)
    new_hash = await auth.passwords.hash(new)
    async with auth.engine.begin() as connection:
        await lock_user_with_hash(connection, user.id, current_hash)
        await set_password(connection, user.id, new_hash)
        limits = session_limits(auth.settings)
        started = await start_session(connection, user.id, new_hash, session, limits)
        if started is None:  # the row is locked here, so nothing else can be the reason
            raise AccountDisabled
        await audit(connection, Action.PASSWORD_CHANGED, actor=user_actor(user.id), subject=user.id)
        if auth.mail is not None:
            await request_mail(connection, user.id, Purpose.PASSWORD_CHANGED)
    if auth.mail is not None:
        auth.mail.wake()
    return started


async def set_password(connection: AsyncConnection, user_id: UUID, password_hash: str) -> User:
    """Store the new hash of a locked user and record ``user.updated``.

    All sessions end, and all access tokens are refused, here at once and elsewhere with the event.
    No link that was mailed to the present address works any longer. A pending change of address is
    dropped, since it was requested with the old password.
    """
    await end_sessions(connection, user_id, EndReason.PASSWORD_CHANGED)
    await erase_links(connection, user_id)
    return await change_user(
        connection,
        user_id,
        password_hash=password_hash,
        tokens_valid_after=TOKENS_VALID_FROM_NOW,
        **NO_PENDING_EMAIL,
    )
