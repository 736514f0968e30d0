"""Undo a change of address, by the link that the former address got, and shut out its author.

The author of the change knows the password, and may have changed it since. So all sessions end, all
tokens are refused, and no password works until the holder of the restored address has chosen one,
by a link that is mailed to them. No link that went to another address works any more, except those
of addresses that the account had even earlier.
"""

import secrets

from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from auth_service.context import Context
from auth_service.mail.ask import ask_for_mail
from auth_service.mail.erase import erase_links
from auth_service.mail.links import InvalidLink, link_holder, open_link
from auth_service.mail.purpose import Purpose
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.users.addresses import claim
from auth_service.users.change import change
from auth_service.users.former_emails import forget_since, former_email
from auth_service.users.model import User
from auth_service.users.table import NO_PENDING_EMAIL, TOKENS_VALID_FROM_NOW

UNKNOWN_PASSWORD_BYTES = 32
"""Nobody has ever seen it, and nobody guesses 256 bits."""


async def restore_email(auth: Context, token: str) -> User:
    """Use the link up, put the address back, and record ``user.updated``.

    A pending change is forgotten; a change that has taken effect is undone.

    Raises:
        InvalidLink: the link may not be used.
        EmailTaken: somebody else has the address by now; the link stays unused.
        HashingBusy: too many passwords wait to be hashed.
        VersionsExhausted: no version is left for the change.
    """
    async with auth.engine.connect() as connection:
        await link_holder(connection, token, Purpose.EMAIL_CHANGE)
    password_hash = await auth.passwords.hash(secrets.token_urlsafe(UNKNOWN_PASSWORD_BYTES))
    async with auth.engine.begin() as connection:
        opened = await open_link(connection, token, Purpose.EMAIL_CHANGE)
        user, former_email_id = opened.user, opened.former_email_id
        if former_email_id is None:
            raise InvalidLink
        email = await former_email(connection, former_email_id)
        if email != user.email:
            await claim(connection, email, holder=user.id)
        await end_sessions(connection, user.id, EndReason.EMAIL_RESTORED)
        await erase_links(connection, user.id)
        await forget_since(connection, user.id, former_email_id)
        restored = await change(
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
            await ask_for_mail(connection, user.id, Purpose.RESET_PASSWORD)
    if auth.mail is not None:
        auth.mail.wake()
    return restored
