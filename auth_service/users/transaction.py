"""Lock a user's row, then change it: the frame of every use case that changes a user.

The caller opens the transaction, locks the row, changes it, and commits. Every change assigns the
next version under that lock and records its event in the same transaction (step 2).

Guarantees: no use case changes a tombstone, for locking one raises ``NoSuchUser``. No lock is held
while a password is hashed: the hash is checked first, and compared again under the lock.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.record import erase, record
from auth_service.users.model import NoSuchUser, User, VersionsExhausted, WrongPassword
from auth_service.users.passwords import Passwords
from auth_service.users.table import LAST_VERSION, NEXT_VERSION, NO_PENDING_EMAIL, to_user, users
from contracts.events import VERSION_MAX, UserDeleted, UserTombstone, UserUpdated


async def verify_password(
    engine: AsyncEngine, passwords: Passwords, user_id: UUID, password: str
) -> str:
    """Check a user's password without locking the row.

    Returns:
        The stored hash that matched, for ``lock_user_with_hash``.

    Raises:
        WrongPassword: the password is not theirs, or there is no such user.
        HashingBusy: too many passwords wait to be checked.
    """
    async with engine.connect() as connection:
        query = select(users.c.password_hash).where(users.c.id == user_id)
        password_hash: str | None = await connection.scalar(query)
    if not await passwords.matches(password, password_hash) or password_hash is None:
        raise WrongPassword
    return password_hash


async def lock_user(connection: AsyncConnection, user_id: UUID) -> User:
    """Lock a living user's row until the transaction ends; raises ``NoSuchUser``."""
    return to_user(await _lock_row(connection, user_id))


async def lock_user_with_hash(
    connection: AsyncConnection, user_id: UUID, password_hash: str
) -> User:
    """Lock the row of a user whose password was verified.

    Raises:
        NoSuchUser: the user was deleted in the meantime.
        WrongPassword: the password was changed in the meantime.
    """
    row = await _lock_row(connection, user_id)
    if row.password_hash != password_hash:
        raise WrongPassword
    return to_user(row)


async def change_user(connection: AsyncConnection, user_id: UUID, **columns: Any) -> User:
    """Set ``columns`` of a locked user and record ``user.updated``.

    Returns:
        The user after the change.

    Raises:
        VersionsExhausted: no version is left for the change.
    """
    changed = await connection.execute(
        update(users)
        # Checked here: the error of a refused row would put the row into PostgreSQL's log.
        .where(users.c.id == user_id, users.c.version < VERSION_MAX)
        .values(version=NEXT_VERSION, updated_at=func.now(), **columns)
        .returning(users)
    )
    row = changed.one_or_none()
    if row is None:
        raise VersionsExhausted
    user = to_user(row)
    await record(connection, UserUpdated.type, user.state())
    return user


async def set_pending_email(
    connection: AsyncConnection, user_id: UUID, email: str | None, *, seconds: int
) -> User:
    """Set the address that waits to be confirmed, for ``seconds``; None removes it.

    No event carries a pending address, so the version stays and nothing is recorded.
    """
    until = None if email is None else func.clock_timestamp() + timedelta(seconds=seconds)
    pending = await connection.execute(
        update(users)
        .where(users.c.id == user_id)
        .values(pending_email=email, pending_email_until=until)
        .returning(users)
    )
    return to_user(pending.one())


async def replace_with_tombstone(connection: AsyncConnection, user_id: UUID) -> int:
    """Turn a locked user's row into its tombstone, erase their events, record ``user.deleted``.

    The row keeps id, version and time of deletion. Earlier events lose their payloads.

    Returns:
        The tombstone's version.
    """
    updated = await connection.execute(
        update(users)
        .where(users.c.id == user_id)
        .values(
            version=LAST_VERSION,
            status="deleted",
            # One instant for all three, so that nothing shows when the user signed up.
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
    await erase(connection, user_id)
    tombstone = UserTombstone(id=user_id, version=version, deleted_at=deleted_at)
    await record(connection, UserDeleted.type, tombstone)
    return tombstone.version


async def _lock_row(connection: AsyncConnection, user_id: UUID) -> Row[Any]:
    query = select(users).where(users.c.id == user_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None or row.status == "deleted":
        raise NoSuchUser
    return row
