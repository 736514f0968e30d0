"""Make an administrator from the command line: of an account that exists, or of a new one.

Guarantees: an account that exists is changed only as it was looked at; nobody who used it before
keeps anything: its sessions end, its access tokens are refused everywhere, its links work no more,
and unless its owner has verified the address it gets another password.

Not here: asking for a password, and whether an existing account is meant (``commands``).
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.mail.erase import erase_links
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.users.administer import audit_changes
from auth_service.users.administrators import ADMINISTRATOR
from auth_service.users.change import change
from auth_service.users.find import find_by_email
from auth_service.users.former_emails import erase_former_emails
from auth_service.users.lock import locked_user
from auth_service.users.model import AccountDisabled, NoSuchUser, User
from auth_service.users.new_address import new_address
from auth_service.users.passwords import Passwords
from auth_service.users.sign_up import add_user
from auth_service.users.table import NO_PENDING_EMAIL, TOKENS_VALID_FROM_NOW


async def account_of(engine: AsyncEngine, email: str) -> User | None:
    """The account with this address.

    Raises:
        BadEmail: the address is none.
        AccountDisabled: the role would be of no use; only an administrator may change that.
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
    """Make an account an administrator's, who may be one already, and record ``user.updated``.

    Parameters:
        engine: the auth database.
        passwords: to hash with.
        user: whose account it is, as it was looked at.
        password: the new one; None: the account keeps the one that it has.
        length_min: characters that a new password needs.
        actor: who does it, for the audit log.
        roles: additional roles.

    Raises:
        WeakPassword: the new password would be guessed.
        AccountDisabled: the account was disabled meanwhile.
        NoSuchUser: it was deleted meanwhile, or its address is another, or was verified.
        VersionsExhausted: no version is left for the change.
    """
    values: dict[str, Any] = {}
    if password is not None:
        await passwords.demand_strong(password, email=user.email, length_min=length_min)
        values["password_hash"] = await passwords.hash(password)
    async with engine.begin() as connection:
        present = await _as_looked_at(connection, user)
        await end_sessions(connection, user.id, EndReason.PROMOTED)
        await erase_links(connection, user.id)
        # Nobody but the new administrator may say to which address the account belongs.
        await erase_former_emails(connection, user.id)
        promoted = await change(
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
    """Create an administrator, with additional ``roles``, and record ``user.created``.

    Their address is not verified.

    Raises:
        BadEmail: the address is none.
        WeakPassword: the password would be guessed.
        EmailTaken: somebody has the address already.
    """
    await passwords.demand_strong(password, email=email, length_min=length_min)
    password_hash = await passwords.hash(password)
    granted = sorted({ADMINISTRATOR, *roles})
    async with engine.begin() as connection:
        user = await add_user(
            connection,
            email=new_address(email),
            password_hash=password_hash,
            roles=granted,
        )
        await audit(connection, Action.USER_CREATED, actor=actor, subject=user.id, granted=granted)
    return user


async def _as_looked_at(connection: AsyncConnection, user: User) -> User:
    """The user, their row locked, whose address still is the same, and as well verified."""
    present = await locked_user(connection, user.id)
    if present.status == "disabled":
        raise AccountDisabled
    if (present.email, present.email_verified) != (user.email, user.email_verified):
        raise NoSuchUser
    return present
