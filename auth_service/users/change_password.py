"""Change a password, and end whatever the old one had started, in one transaction."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.ask import ask_for_mail
from auth_service.mail.erase import erase_links
from auth_service.mail.purpose import Purpose
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.sessions.model import NewSession
from auth_service.sessions.start import start_session
from auth_service.users.change import change
from auth_service.users.confirm import confirmed_password, locked
from auth_service.users.limit_changes import spend_change
from auth_service.users.model import AccountDisabled, User
from auth_service.users.table import NO_PENDING_EMAIL, TOKENS_VALID_FROM_NOW
from service_kit.process.actors import user_actor


async def change_password(
    auth: Context, user: User, *, current: str, new: str, session: NewSession
) -> tuple[User, datetime]:
    """Give the user another password, and ``session`` in place of all that he had.

    A mail tells him, where mails can be sent. Returned are the user as he is now, and the time as
    of which he may have an access token.

    Raises:
        WeakPassword: the new one would be guessed.
        WrongPassword: the current one is not his.
        NoSuchUser: he was deleted meanwhile.
        AccountDisabled: he was disabled meanwhile.
        HashingBusy: too many passwords wait to be hashed.
        TooManyRequests: the account was changed too often.
    """
    length_min = auth.settings.password_length_min
    await auth.passwords.demand_strong(new, email=user.email, length_min=length_min)
    current_hash = await confirmed_password(auth.engine, auth.passwords, user.id, current)
    await spend_change(auth, user.id)
    new_hash = await auth.passwords.hash(new)
    async with auth.engine.begin() as connection:
        await locked(connection, user.id, current_hash)
        await set_password(connection, user.id, new_hash)
        limits = auth.settings.session_limits
        started = await start_session(connection, user.id, new_hash, session, limits)
        if started is None:  # his row is ours, so that is all it can be
            raise AccountDisabled
        await audit(connection, Action.PASSWORD_CHANGED, actor=user_actor(user.id), subject=user.id)
        if auth.mail is not None:
            await ask_for_mail(connection, user.id, Purpose.PASSWORD_CHANGED)
    if auth.mail is not None:
        auth.mail.wake()
    return started


async def set_password(connection: AsyncConnection, user_id: UUID, password_hash: str) -> User:
    """Store the hash of the user's new password and record ``user.updated``.

    The caller has locked his row. All his sessions end, every access token of before is refused
    here at once and elsewhere with the event. No link that was mailed to the present address works
    any more, and a change to another one that waits is forgotten: the old password asked for it.
    """
    await end_sessions(connection, user_id, EndReason.PASSWORD_CHANGED)
    await erase_links(connection, user_id)
    return await change(
        connection,
        user_id,
        password_hash=password_hash,
        tokens_valid_after=TOKENS_VALID_FROM_NOW,
        **NO_PENDING_EMAIL,
    )
