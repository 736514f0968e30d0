"""Delete a user permanently: tombstone, erasure and event, in one transaction.

Everything personal is erased at once: the user's row, their events in the outbox (so that no replay
can bring anything back), their sessions, mails and links. The tombstone stays permanently.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.mail.erase import erase_mail
from auth_service.sessions.end import erase_sessions
from auth_service.users.administrators import (
    is_administrator,
    require_administrator,
    require_another_administrator,
)
from auth_service.users.former_emails import erase_former_emails
from auth_service.users.model import User
from auth_service.users.passwords import Passwords
from auth_service.users.transaction import (
    lock_user,
    lock_user_with_hash,
    replace_with_tombstone,
    verify_password,
)
from service_kit.process.actors import user_actor


async def delete(engine: AsyncEngine, passwords: Passwords, user_id: UUID, *, password: str) -> int:
    """Erase the user, who may be disabled, and record ``user.deleted``.

    Returns:
        The version of their tombstone.

    Raises:
        WrongPassword: the password is not theirs.
        NoSuchUser: they were deleted already.
        LastAdministrator: they are the last administrator.
        HashingBusy: too many passwords wait to be checked.
    """
    return await delete_verified(
        engine, user_id, await verify_password(engine, passwords, user_id, password)
    )


async def delete_verified(engine: AsyncEngine, user_id: UUID, password_hash: str) -> int:
    """Do the same for a user whose password was verified against ``password_hash``."""
    async with engine.begin() as connection:
        user = await lock_user_with_hash(connection, user_id, password_hash)
        return await _delete_locked(connection, user, actor=user_actor(user_id))


async def delete_by(
    engine: AsyncEngine, user_id: UUID, *, actor: str, administrator: UUID | None = None
) -> int:
    """Do the same without a password, for an administrator or an operator.

    Parameters:
        actor: for the audit log.
        administrator: the user who must be an administrator; None for a command.

    Raises:
        NoAdministrator: ``administrator`` no longer is one.
        NoSuchUser: there is no such user, or they were deleted already.
        LastAdministrator: they are the last administrator.
    """
    async with engine.begin() as connection:
        user = await lock_user(connection, user_id)
        await require_administrator(connection, administrator)
        return await _delete_locked(connection, user, actor=actor)


async def _delete_locked(connection: AsyncConnection, user: User, *, actor: str) -> int:
    if is_administrator(user):
        await require_another_administrator(connection, user.id)
    version = await replace_with_tombstone(connection, user.id)
    await erase_sessions(connection, user.id)
    await erase_mail(connection, user.id)
    await erase_former_emails(connection, user.id)
    await audit(connection, Action.USER_DELETED, actor=actor, subject=user.id)
    return version
