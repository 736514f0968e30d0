"""Change a user's e-mail address: at once, or as soon as the new one's holder has opened a link.

Where mails can be sent, the new address is *pending* at first: in no event, good for nothing, and
forgotten if its link is not opened in time. The holder of the old one, if it is verified, gets a
notice with a link that undoes the change (``restore_email``).

Guarantees: whether somebody has the new address is not told before its holder has opened the link.
No link that was mailed to an address works for another one.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.ask import ask_for_mail
from auth_service.mail.erase import erase_links
from auth_service.mail.purpose import Purpose
from auth_service.users.addresses import claim
from auth_service.users.change import change
from auth_service.users.confirm import confirmed_password, locked
from auth_service.users.former_emails import begin_time_to_undo, give_notice
from auth_service.users.limit_changes import spend_change
from auth_service.users.model import User
from auth_service.users.new_address import new_address
from auth_service.users.passwords import Passwords
from auth_service.users.table import NO_PENDING_EMAIL, to_user, users
from service_kit.process.actors import user_actor

UNDO_SECONDS = 72 * 3600
"""A long weekend in which nobody reads their mail."""


async def ask_to_change_email(auth: Context, user_id: UUID, *, email: str, password: str) -> User:
    """Make an address pending, and ask for the mails to its holder and to the present one's.

    Another pending address is forgotten. The present address withdraws the change.

    Returns:
        The user, of whom nothing else changes.

    Raises:
        BadEmail: the address is none.
        WrongPassword: the password is not the user's.
        NoSuchUser: the user was deleted.
        HashingBusy: too many passwords wait to be checked.
        TooManyRequests: the account was changed too often.
    """
    settings = auth.settings
    email = new_address(email)
    password_hash = await confirmed_password(auth.engine, auth.passwords, user_id, password)
    await spend_change(auth, user_id)
    async with auth.engine.begin() as connection:
        user = await locked(connection, user_id, password_hash)
        if email == user.email:
            await erase_links(connection, user_id, Purpose.CONFIRM_EMAIL)
            return await _pend(connection, user_id, None, seconds=0)
        # A user who names another address gives up one that was never theirs for sure.
        given_up = () if not user.email_verified else (Purpose.CONFIRM_EMAIL,)
        await erase_links(connection, user_id, *given_up)
        pending = await _pend(
            connection, user_id, email, seconds=settings.verification_link_seconds
        )
        seconds = settings.verification_link_seconds + settings.email_undo_seconds
        await give_notice(connection, user, seconds=seconds)
        await ask_for_mail(connection, user_id, Purpose.CONFIRM_EMAIL)
        await audit(
            connection, Action.EMAIL_CHANGE_ASKED, actor=user_actor(user_id), subject=user_id
        )
    return pending


async def apply_pending(connection: AsyncConnection, user: User, *, undo_seconds: int) -> User:
    """Give the user the pending address, which its holder has just confirmed; the caller commits.

    Parameters:
        user: whose row is locked, with a pending address.
        undo_seconds: for how long the change can be undone.

    Raises:
        EmailTaken: somebody else has the address by now.
        VersionsExhausted: no version is left for the change.
    """
    email = user.pending_email
    assert email is not None  # the caller has looked
    await claim(connection, email, holder=user.id)
    await begin_time_to_undo(connection, user, seconds=undo_seconds)
    return await change(connection, user.id, email=email, email_verified=True, **NO_PENDING_EMAIL)


async def change_email(
    engine: AsyncEngine,
    passwords: Passwords,
    user_id: UUID,
    *,
    email: str,
    password: str,
    mail: bool = False,
    undo_seconds: int = UNDO_SECONDS,
) -> User:
    """Give the user another address at once, not verified yet, and record ``user.updated``.

    The address that the user has already changes nothing and records nothing.

    Parameters:
        mail: whether to ask for the mails: by which the new address can be verified, and by which
            the holder of a verified old one can undo the change.
        undo_seconds: for how long they can.

    Raises:
        BadEmail: the address is none.
        EmailTaken: somebody has it already.
        WrongPassword: the password is not the user's.
        NoSuchUser: the user was deleted.
        HashingBusy: too many passwords wait to be checked.
        VersionsExhausted: no version is left for the change.
    """
    email = new_address(email)
    password_hash = await confirmed_password(engine, passwords, user_id, password)
    async with engine.begin() as connection:
        user = await locked(connection, user_id, password_hash)
        if user.email == email:
            return user
        await claim(connection, email, holder=user_id)
        if mail:
            await give_notice(connection, user, seconds=undo_seconds)
        changed = await change(
            connection, user_id, email=email, email_verified=False, **NO_PENDING_EMAIL
        )
        await erase_links(connection, user_id)
        if mail:
            await ask_for_mail(connection, user_id, Purpose.VERIFY_EMAIL)
        await audit(connection, Action.EMAIL_CHANGED, actor=user_actor(user_id), subject=user_id)
    return changed


async def _pend(
    connection: AsyncConnection, user_id: UUID, email: str | None, *, seconds: int
) -> User:
    until = None if email is None else func.clock_timestamp() + timedelta(seconds=seconds)
    pending = await connection.execute(
        update(users)
        .where(users.c.id == user_id)
        .values(pending_email=email, pending_email_until=until)
        .returning(users)
    )
    return to_user(pending.one())
