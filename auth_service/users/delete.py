"""Delete a user, finally: tombstone, erasure and event, in one transaction.

What is personal goes at once, from the user's row and from what the outbox still holds of him, so
that no replay can ever bring it back; his sessions, mails and links go with it. The tombstone stays
for ever.
"""

from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.mail.erase import erase_mail
from auth_service.outbox.record import erase, record
from auth_service.sessions.end import erase_sessions
from auth_service.users.administrators import demand_another, demand_still, is_administrator
from auth_service.users.confirm import confirmed_password, locked
from auth_service.users.former_emails import erase_former_emails
from auth_service.users.lock import locked_user
from auth_service.users.model import User
from auth_service.users.passwords import Passwords
from auth_service.users.table import LAST_VERSION, NO_PENDING_EMAIL, users
from contracts.events import UserDeleted, UserTombstone
from service_kit.process.actors import user_actor


async def delete(
    engine: AsyncEngine, passwords: Passwords, user_id: UUID, *, password: str
) -> None:
    """Erase the user, who may be disabled, and record ``user.deleted``.

    Raises:
        WrongPassword: the password is not theirs.
        NoSuchUser: they were deleted already.
        LastAdministrator: nobody else is an administrator.
        HashingBusy: too many passwords wait to be checked.
    """
    await delete_confirmed(
        engine, user_id, await confirmed_password(engine, passwords, user_id, password)
    )


async def delete_confirmed(engine: AsyncEngine, user_id: UUID, password_hash: str) -> None:
    """The same for a password that was checked already, against ``password_hash``."""
    async with engine.begin() as connection:
        user = await locked(connection, user_id, password_hash)
        await _delete_locked(connection, user, actor=user_actor(user_id))


async def delete_by(
    engine: AsyncEngine, user_id: UUID, *, actor: str, administrator: UUID | None = None
) -> None:
    """The same without a password, by an administrator or operator.

    Parameters:
        actor: who does it, for the audit log.
        administrator: the user who has to be an administrator for it; None: a command does it.

    Raises:
        NoAdministrator: who does it is none any more.
        NoSuchUser: there is none, or he was deleted already.
        LastAdministrator: nobody else is an administrator.
    """
    async with engine.begin() as connection:
        user = await locked_user(connection, user_id)
        await demand_still(connection, administrator)
        await _delete_locked(connection, user, actor=actor)


async def _delete_locked(connection: AsyncConnection, user: User, *, actor: str) -> None:
    """The same for a user whose row is locked; the caller commits."""
    if is_administrator(user):
        await demand_another(connection, user.id)
    updated = await connection.execute(
        update(users)
        .where(users.c.id == user.id)
        .values(
            version=LAST_VERSION,
            status="deleted",
            # One instant for all, so that nothing tells when the user came.
            deleted_at=func.statement_timestamp(),
            created_at=func.statement_timestamp(),
            updated_at=func.statement_timestamp(),
            email=None,
            email_verified=False,
            password_hash=None,
            roles=[],
            tokens_valid_after=None,
            **NO_PENDING_EMAIL,
        )
        .returning(users.c.version, users.c.deleted_at)
    )
    version, deleted_at = updated.one()
    await erase(connection, user.id)
    await erase_sessions(connection, user.id)
    await erase_mail(connection, user.id)
    await erase_former_emails(connection, user.id)
    tombstone = UserTombstone(id=user.id, version=version, deleted_at=deleted_at)
    await record(connection, UserDeleted.type, tombstone)
    await audit(connection, Action.USER_DELETED, actor=actor, subject=user.id)
