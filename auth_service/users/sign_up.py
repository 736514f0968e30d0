"""Sign a user up: the row, its first version and the event, in one transaction."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.record import record
from auth_service.users.model import EmailTaken, User, normalised_email
from auth_service.users.passwords import Passwords
from auth_service.users.table import FIRST_VERSION, to_user, users
from contracts.events import UserCreated


async def sign_up(engine: AsyncEngine, passwords: Passwords, *, email: str, password: str) -> User:
    """Create a user and record ``user.created``.

    Raises:
        BadEmail: the address is none.
        EmailTaken: somebody has it already.
        HashingBusy: too many passwords wait to be hashed.
    """
    email = normalised_email(email)
    password_hash = await passwords.hash(password)
    async with engine.begin() as connection:
        inserted = await connection.execute(
            insert(users)
            .values(email=email, password_hash=password_hash, version=FIRST_VERSION)
            .on_conflict_do_nothing(index_elements=[users.c.email])
            .returning(users)
        )
        row = inserted.one_or_none()
        if row is None:
            raise EmailTaken
        user = to_user(row)
        await record(connection, UserCreated.type, user.state())
    return user
