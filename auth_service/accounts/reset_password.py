"""Reset a forgotten password with a link that was mailed to the account's address."""

from auth_service.accounts.change_password import set_password
from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.letters import Purpose
from auth_service.mail.links import use_link, user_of_link
from auth_service.mail.request import request_mail
from auth_service.users.model import User
from auth_service.users.transaction import change_user


async def reset_password(auth: Context, *, token: str, new: str) -> User:
    """Use up the link and set its user's password; they must sign in again everywhere.

    Opening the link verifies the address as well. After a refusal the link can still be used.

    Raises:
        InvalidLink: the link may not be used.
        WeakPassword: the new password is too easy to guess.
        HashingBusy: too many passwords wait to be hashed.
    """
    async with auth.engine.connect() as connection:
        owner = await user_of_link(connection, token, Purpose.RESET_PASSWORD)
    length_min = auth.settings.password_length_min
    await auth.passwords.require_strong(new, email=owner.email, length_min=length_min)
    password_hash = await auth.passwords.hash(new)
    async with auth.engine.begin() as connection:
        user = (await use_link(connection, token, Purpose.RESET_PASSWORD)).user
        if not user.email_verified:
            await change_user(connection, user.id, email_verified=True)
        await set_password(connection, user.id, password_hash)
        await audit(connection, Action.PASSWORD_RESET, actor=ANONYMOUS, subject=user.id)
        if auth.mail is not None:
            await request_mail(connection, user.id, Purpose.PASSWORD_CHANGED)
    if auth.mail is not None:
        auth.mail.wake()
    return user
