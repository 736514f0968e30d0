"""Undo a change of address with the link mailed to the former address, and lock out its author.

The author of the change knows the password, and may have changed it since. So all sessions end, all
tokens are refused, and no password works until the holder of the restored address has chosen one,
with a link that is mailed to them. Links to other addresses stop working, except those to addresses
that the account had even earlier.
"""

import secrets
from typing import Final

from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.erase import erase_links
from auth_service.mail.letters import Purpose
from auth_service.mail.links import InvalidLink, use_link, user_of_link
from auth_service.mail.request import request_mail
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.users.claim_address import claim_address
from auth_service.users.former_emails import delete_former_emails_from, former_email
from auth_service.users.model import User
from auth_service.users.table import NO_PENDING_EMAIL, TOKENS_VALID_FROM_NOW
from auth_service.users.transaction import change_user

UNKNOWN_PASSWORD_BYTES: Final = 32
"""Of a password that is never shown; nobody guesses 256 bits."""


async def restore_email(auth: Context, token: str) -> User:
    """Use up the link, restore the address, and record ``user.updated``.

    This drops a pending change, and undoes one that has taken effect.

    Raises:
        InvalidLink: the link may not be used.
        EmailTaken: another user has the address by now; the link stays unused.
        HashingBusy: too many passwords wait to be hashed.
        VersionsExhausted: no version is left for the change.
    """
    async with auth.engine.connect() as connection:
        await user_of_link(connection, token, Purpose.EMAIL_CHANGE)
    password_hash = await auth.passwords.hash(secrets.token_urlsafe(UNKNOWN_PASSWORD_BYTES))
    async with auth.engine.begin() as connection:
        link = await use_link(connection, token, Purpose.EMAIL_CHANGE)
        user, former_email_id = link.user, link.former_email_id
        if former_email_id is None:
            raise InvalidLink
        email = await former_email(connection, former_email_id)
        if email != user.email:
            await claim_address(connection, email, user_id=user.id)
        await end_sessions(connection, user.id, EndReason.EMAIL_RESTORED)
        await erase_links(connection, user.id)
        await delete_former_emails_from(connection, user.id, former_email_id)
        restored = await change_user(
            connection,
            user.id,
            email=email,
            email_verified=True,
            password_hash=password_hash,
            tokens_valid_after=TOKENS_VALID_FROM_NOW,
            **NO_PENDING_EMAIL,
        )
        await audit(connection, Action.EMAIL_RESTORED, actor=ANONYMOUS, subject=user.id)
        if auth.mail is not None:
            await request_mail(connection, user.id, Purpose.RESET_PASSWORD)
    if auth.mail is not None:
        auth.mail.wake()
    return restored
