"""Create an administrator from the command line, or promote an existing account.

Guarantees: an existing account is promoted only in the state in which it was shown. Nobody who used
it before retains access: its sessions end, its access tokens are refused everywhere, its links stop
working, and it gets another password unless its owner has verified the address.

Not here: asking for a password and for consent to promote (``commands``).
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.accounts.administer import audit_changes
from auth_service.accounts.sign_up import add_user
from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.mail.erase import erase_links
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.users.administrators import ADMINISTRATOR
from auth_service.users.former_emails import erase_former_emails
from auth_service.users.model import AccountDisabled, NoSuchUser, User
from auth_service.users.new_address import validate_new_address
from auth_service.users.passwords import Passwords
from auth_service.users.queries import find_by_email
from auth_service.users.table import NO_PENDING_EMAIL, TOKENS_VALID_FROM_NOW
from auth_service.users.transaction import change_user, lock_user


async def find_promotable(engine: AsyncEngine, email: str) -> User | None:
    """The account with this address, if there is one.

    Raises:
        BadEmail: the address is invalid.
        AccountDisabled: the role would have no effect until an administrator enables them.
    """
    async with engine.connect() as connection:
        user = await find_by_email(connection, email)
    if user is not None and user.status == "disabled":
        raise AccountDisabled
    return user


async def promote(
    engine: AsyncEngine,
    passwords: Passwords,
    user: User,
    *,
    password: str | None,
    length_min: int,
    actor: str,
    roles: Collection[str] = (),
) -> User:
    """Make a user an administrator, if they are not one already, and record ``user.updated``.

    Parameters:
        user: in the state in which they were shown.
        password: the new password; None keeps the present one.
        length_min: characters that a new password needs.
        actor: for the audit log.
        roles: additional roles.

    Raises:
        WeakPassword: the new password is too easy to guess.
        AccountDisabled: the account was disabled in the meantime.
        NoSuchUser: the account was deleted, or its address changed or verified, in the meantime.
        VersionsExhausted: no version is left for the change.
    """
    values: dict[str, Any] = {}
    if password is not None:
        await passwords.require_strong(password, email=user.email, length_min=length_min)
        values["password_hash"] = await passwords.hash(password)
    async with engine.begin() as connection:
        present = await _lock_unchanged(connection, user)
        await end_sessions(connection, user.id, EndReason.PROMOTED)
        await erase_links(connection, user.id)
        # Only the new administrator may decide to which address the account belongs.
        await erase_former_emails(connection, user.id)
        promoted = await change_user(
            connection,
            user.id,
            roles=sorted({*present.roles, ADMINISTRATOR, *roles}),
            tokens_valid_after=TOKENS_VALID_FROM_NOW,
            **NO_PENDING_EMAIL,
            **values,
        )
        await audit_changes(connection, present, promoted, actor=actor)
        if values:
            await audit(connection, Action.PASSWORD_RESET, actor=actor, subject=user.id)
    return promoted


async def create_admin(
    engine: AsyncEngine,
    passwords: Passwords,
    *,
    email: str,
    password: str,
    length_min: int,
    actor: str,
    roles: Collection[str] = (),
) -> User:
    """Create an administrator with an unverified address, and record ``user.created``.

    Parameters:
        length_min: characters that the password needs.
        actor: for the audit log.
        roles: additional roles.

    Raises:
        BadEmail: the address is invalid.
        WeakPassword: the password is too easy to guess.
        EmailTaken: another user has the address.
    """
    await passwords.require_strong(password, email=email, length_min=length_min)
    password_hash = await passwords.hash(password)
    granted = sorted({ADMINISTRATOR, *roles})
    async with engine.begin() as connection:
        user = await add_user(
            connection,
            email=validate_new_address(email),
            password_hash=password_hash,
            roles=granted,
        )
        await audit(connection, Action.USER_CREATED, actor=actor, subject=user.id, granted=granted)
    return user


async def _lock_unchanged(connection: AsyncConnection, user: User) -> User:
    """Lock the user's row; refuse if their address, or its verification, has changed."""
    present = await lock_user(connection, user.id)
    if present.status == "disabled":
        raise AccountDisabled
    if (present.email, present.email_verified) != (user.email, user.email_verified):
        raise NoSuchUser
    return present
