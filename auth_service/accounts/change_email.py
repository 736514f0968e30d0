"""Change a user's e-mail address: at once, or as soon as the link mailed to it is opened.

Where mail can be sent, the new address is *pending* first: no event contains it, nothing uses it,
and it is dropped unless its link is opened in time. The holder of a verified old address gets a
notice with a link that undoes the change (``restore_email``).

Guarantees: nobody is told whether the new address is taken before its holder has opened the link. A
link that was mailed to one address does not work for another.
"""

from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.accounts.limit_changes import spend_account_change
from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.erase import erase_links
from auth_service.mail.letters import Purpose
from auth_service.mail.links import limit_links
from auth_service.mail.request import request_mail
from auth_service.users.claim_address import claim_address
from auth_service.users.former_emails import restart_time_to_undo, store_former_email
from auth_service.users.model import User
from auth_service.users.new_address import validate_new_address
from auth_service.users.passwords import Passwords
from auth_service.users.table import NO_PENDING_EMAIL
from auth_service.users.transaction import (
    change_user,
    lock_user_with_hash,
    set_pending_email,
    verify_password,
)
from service_kit.process.actors import user_actor

UNDO_SECONDS: Final = 72 * 3600
"""A long weekend in which nobody reads their mail."""


async def request_email_change(auth: Context, user_id: UUID, *, email: str, password: str) -> User:
    """Make an address pending, and request the mails to it and to the present address.

    This replaces another pending address. The present address withdraws the change.

    Returns:
        The user with the pending address; nothing else of them changes.

    Raises:
        BadEmail: the address is invalid.
        WrongPassword: the password is not the user's.
        NoSuchUser: the user was deleted.
        HashingBusy: too many passwords wait to be checked.
        TooManyRequests: the account was changed too often.
    """
    settings = auth.settings
    email = validate_new_address(email)
    password_hash = await verify_password(auth.engine, auth.passwords, user_id, password)
    await spend_account_change(auth, user_id)
    async with auth.engine.begin() as connection:
        user = await lock_user_with_hash(connection, user_id, password_hash)
        if email == user.email:
            await erase_links(connection, user_id, Purpose.CONFIRM_EMAIL)
            return await set_pending_email(connection, user_id, None, seconds=0)
        # An unverified address may never have been theirs; naming another one gives it up.
        given_up = () if not user.email_verified else (Purpose.CONFIRM_EMAIL,)
        await erase_links(connection, user_id, *given_up)
        pending = await set_pending_email(
            connection, user_id, email, seconds=settings.verification_link_seconds
        )
        seconds = settings.verification_link_seconds + settings.email_undo_seconds
        await _notify_present_address(connection, user, seconds=seconds)
        await request_mail(connection, user_id, Purpose.CONFIRM_EMAIL)
        await audit(
            connection, Action.EMAIL_CHANGE_ASKED, actor=user_actor(user_id), subject=user_id
        )
    return pending


async def apply_pending(connection: AsyncConnection, user: User, *, undo_seconds: int) -> User:
    """Give the user the pending address, which its holder has just confirmed; the caller commits.

    Parameters:
        user: has a pending address; the row is locked.
        undo_seconds: for how long the change can be undone.

    Raises:
        EmailTaken: another user has the address by now.
        VersionsExhausted: no version is left for the change.
    """
    email = user.pending_email
    assert email is not None  # the caller has checked
    await claim_address(connection, email, user_id=user.id)
    for former_email_id, until in await restart_time_to_undo(
        connection, user, seconds=undo_seconds
    ):
        await limit_links(connection, former_email_id, until)
    return await change_user(
        connection, user.id, email=email, email_verified=True, **NO_PENDING_EMAIL
    )


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
    """Give the user another, unverified address at once, and record ``user.updated``.

    The address that the user already has changes nothing and records nothing.

    Parameters:
        mail: whether to request the mails that verify the new address and that let the holder of a
            verified old one undo the change.
        undo_seconds: for how long the change can be undone.

    Raises:
        BadEmail: the address is invalid.
        EmailTaken: another user has the address.
        WrongPassword: the password is not the user's.
        NoSuchUser: the user was deleted.
        HashingBusy: too many passwords wait to be checked.
        VersionsExhausted: no version is left for the change.
    """
    email = validate_new_address(email)
    password_hash = await verify_password(engine, passwords, user_id, password)
    async with engine.begin() as connection:
        user = await lock_user_with_hash(connection, user_id, password_hash)
        if user.email == email:
            return user
        await claim_address(connection, email, user_id=user_id)
        if mail:
            await _notify_present_address(connection, user, seconds=undo_seconds)
        changed = await change_user(
            connection, user_id, email=email, email_verified=False, **NO_PENDING_EMAIL
        )
        await erase_links(connection, user_id)
        if mail:
            await request_mail(connection, user_id, Purpose.VERIFY_EMAIL)
        await audit(connection, Action.EMAIL_CHANGED, actor=user_actor(user_id), subject=user_id)
    return changed


async def _notify_present_address(connection: AsyncConnection, user: User, *, seconds: int) -> None:
    """Store the present address for ``seconds`` and request the notice with the link to undo.

    An unverified address gets no notice and cannot return: it proves nothing.
    """
    if user.email_verified:
        stored = await store_former_email(connection, user, seconds=seconds)
        await request_mail(connection, user.id, Purpose.EMAIL_CHANGE, former_email_id=stored)
