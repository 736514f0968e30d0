"""Reset a forgotten password by a link that only the account's mailbox got."""

from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.ask import ask_for_mail
from auth_service.mail.links import link_holder, open_link
from auth_service.mail.purpose import Purpose
from auth_service.users.change import change
from auth_service.users.change_password import set_password
from auth_service.users.model import User


async def reset_password(auth: Context, *, token: str, new: str) -> User:
    """Use the link up and give its user another password; he has to sign in everywhere again.

    Opening the link proves the address too. A weak password, or a service that is too busy, leaves
    the link unused.

    Raises:
        InvalidLink: the link may not be used.
        WeakPassword: the new password would be guessed.
        HashingBusy: too many passwords wait to be hashed.
    """
    async with auth.engine.connect() as connection:
        holder = await link_holder(connection, token, Purpose.RESET_PASSWORD)
    length_min = auth.settings.password_length_min
    await auth.passwords.demand_strong(new, email=holder.email, length_min=length_min)
    password_hash = await auth.passwords.hash(new)
    async with auth.engine.begin() as connection:
        user = (await open_link(connection, token, Purpose.RESET_PASSWORD)).user
        if not user.email_verified:
            await change(connection, user.id, email_verified=True)
        await set_password(connection, user.id, password_hash)
        await audit(connection, Action.PASSWORD_RESET, actor=ANONYMOUS, subject=user.id)
        if auth.mail is not None:
            await ask_for_mail(connection, user.id, Purpose.PASSWORD_CHANGED)
    if auth.mail is not None:
        auth.mail.wake()
    return user
