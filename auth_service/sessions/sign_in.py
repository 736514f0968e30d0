"""Find the user behind an e-mail address and a password."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.users.model import BadEmail, User, normalised_email
from auth_service.users.passwords import Passwords
from auth_service.users.table import to_user, users


class WrongCredentials(Exception):
    """Address and password do not belong together; which of the two is wrong stays untold."""


class AccountDisabled(Exception):
    """Address and password are right, but the account is disabled."""


async def sign_in(engine: AsyncEngine, passwords: Passwords, *, email: str, password: str) -> User:
    """The user with this address and password.

    An unknown address takes as long as a wrong password, for a hash is checked either way.

    Raises:
        WrongCredentials: no user has both.
        AccountDisabled: he has, and is disabled.
        HashingBusy: too many passwords wait to be checked.
    """
    try:
        query = select(users).where(users.c.email == normalised_email(email))
        async with engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
    except BadEmail:
        row = None
    if not await passwords.matches(password, row.password_hash if row else None) or row is None:
        raise WrongCredentials
    if row.status != "active":
        raise AccountDisabled
    return to_user(row)
