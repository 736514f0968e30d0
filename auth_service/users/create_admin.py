"""Make an administrator from the command line: of an account that exists, or of a new one.

Not here: asking for a password (``commands``).
"""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.users.administer import administer
from auth_service.users.administrators import ADMINISTRATOR
from auth_service.users.find import find_by_email
from auth_service.users.model import AccountDisabled, User, normalised_email
from auth_service.users.password_policy import demand_strong
from auth_service.users.passwords import Passwords
from auth_service.users.sign_up import add_user


async def account_of(engine: AsyncEngine, email: str) -> User | None:
    """The account with this address; raises ``BadEmail``."""
    async with engine.connect() as connection:
        return await find_by_email(connection, email)


async def promote(
    engine: AsyncEngine, user: User, *, actor: str, roles: Collection[str] = ()
) -> User:
    """Make an account an administrator's; it keeps its password, and may be one already.

    Parameters:
        engine: the auth database.
        user: whose account it is.
        actor: who does it, for the audit log.
        roles: what he shall be besides.

    Raises:
        AccountDisabled: the role would be of no use; only an administrator may change that.
        NoSuchUser: he was deleted meanwhile.
    """
    if user.status == "disabled":
        raise AccountDisabled
    return await administer(engine, user.id, actor=actor, granted=[ADMINISTRATOR, *roles])


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
    """Create an administrator, who is ``roles`` besides, and record ``user.created``.

    His address is not verified.

    Raises:
        BadEmail: the address is none.
        WeakPassword: the password would be guessed.
        EmailTaken: somebody has the address already.
    """
    demand_strong(password, email=email, length_min=length_min)
    password_hash = await passwords.hash(password)
    granted = sorted({ADMINISTRATOR, *roles})
    async with engine.begin() as connection:
        user = await add_user(
            connection,
            email=normalised_email(email),
            password_hash=password_hash,
            roles=granted,
        )
        await audit(connection, Action.USER_CREATED, actor=actor, subject=user.id, granted=granted)
    return user
