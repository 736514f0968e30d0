"""Change a user's e-mail address: row, next version and event, in one transaction."""

from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.record import record
from auth_service.users.confirm import confirmed_password, locked
from auth_service.users.model import EmailTaken, User, normalised_email
from auth_service.users.passwords import Passwords
from auth_service.users.table import NEXT_VERSION, to_user, users
from contracts.events import UserUpdated


async def change_email(
    engine: AsyncEngine, passwords: Passwords, user_id: UUID, *, email: str, password: str
) -> User:
    """Give the user another address, not verified yet, and record ``user.updated``.

    The address that he has already changes nothing and records nothing.

    Raises:
        BadEmail: the address is none.
        EmailTaken: somebody has it already.
        WrongPassword: the password is not his.
        NoSuchUser: he was deleted.
        HashingBusy: too many passwords wait to be checked.
    """
    email = normalised_email(email)
    password_hash = await confirmed_password(engine, passwords, user_id, password)
    async with engine.begin() as connection:
        user = await locked(connection, user_id, password_hash)
        if user.email == email:
            return user
        try:
            updated = await connection.execute(
                update(users)
                .where(users.c.id == user_id)
                .values(
                    email=email,
                    email_verified=False,
                    version=NEXT_VERSION,
                    updated_at=func.now(),
                )
                .returning(users)
            )
        except IntegrityError:
            raise EmailTaken from None
        user = to_user(updated.one())
        await record(connection, UserUpdated.type, user.state())
    return user
