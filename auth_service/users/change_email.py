"""Change a user's e-mail address: row, next version and event, in one transaction.

No link that was mailed to the old address works any more: it would prove nothing about the new one.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.mail.ask import ask_for_mail
from auth_service.mail.erase import erase_links
from auth_service.mail.purpose import Purpose
from auth_service.users.addresses import claim
from auth_service.users.change import change
from auth_service.users.confirm import confirmed_password, locked
from auth_service.users.model import User
from auth_service.users.new_address import new_address
from auth_service.users.passwords import Passwords
from contracts.actors import user_actor


async def change_email(
    engine: AsyncEngine,
    passwords: Passwords,
    user_id: UUID,
    *,
    email: str,
    password: str,
    mail: bool = False,
) -> User:
    """Give the user another address, not verified yet, and record ``user.updated``.

    The address that he has already changes nothing and records nothing.

    Parameters:
        mail: whether to ask for a mail by which he can verify the new address.

    Raises:
        BadEmail: the address is none.
        EmailTaken: somebody has it already.
        WrongPassword: the password is not his.
        NoSuchUser: he was deleted.
        HashingBusy: too many passwords wait to be checked.
    """
    email = new_address(email)
    password_hash = await confirmed_password(engine, passwords, user_id, password)
    async with engine.begin() as connection:
        user = await locked(connection, user_id, password_hash)
        if user.email == email:
            return user
        await claim(connection, email)
        changed = await change(connection, user_id, email=email, email_verified=False)
        await erase_links(connection, user_id)
        if mail:
            await ask_for_mail(connection, user_id, Purpose.VERIFY_EMAIL)
        await audit(connection, Action.EMAIL_CHANGED, actor=user_actor(user_id), subject=user_id)
    return changed
