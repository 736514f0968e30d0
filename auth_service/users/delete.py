"""Delete a user, finally: tombstone, erasure and event, in one transaction.

What is personal goes at once, from the user's row and from what the outbox still holds of him, so
that no replay can ever bring it back. The tombstone stays for ever.
"""

from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.record import erase, record
from auth_service.users.confirm import confirmed_password, locked
from auth_service.users.passwords import Passwords
from auth_service.users.table import NEXT_VERSION, users
from contracts.events import UserDeleted, UserTombstone


async def delete(
    engine: AsyncEngine, passwords: Passwords, user_id: UUID, *, password: str
) -> None:
    """Erase the user and record ``user.deleted``.

    Raises:
        WrongPassword: the password is not his.
        NoSuchUser: he was deleted already.
        HashingBusy: too many passwords wait to be checked.
    """
    password_hash = await confirmed_password(engine, passwords, user_id, password)
    async with engine.begin() as connection:
        await locked(connection, user_id, password_hash)
        updated = await connection.execute(
            update(users)
            .where(users.c.id == user_id)
            .values(
                version=NEXT_VERSION,
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
            )
            .returning(users.c.version, users.c.deleted_at)
        )
        version, deleted_at = updated.one()
        await erase(connection, user_id)
        tombstone = UserTombstone(id=user_id, version=version, deleted_at=deleted_at)
        await record(connection, UserDeleted.type, tombstone)
