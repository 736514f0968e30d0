"""Verify a user's e-mail address: he opened a link that only its mailbox got."""

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from auth_service.mail.links import open_link
from auth_service.mail.purpose import Purpose
from auth_service.users.change import change


async def verify_email(engine: AsyncEngine, token: str) -> None:
    """Use the link up, mark the address as verified and record ``user.updated``.

    An address that is verified already changes nothing and records nothing.

    Raises:
        InvalidLink: the link may not be used.
    """
    async with engine.begin() as connection:
        user = await open_link(connection, token, Purpose.VERIFY_EMAIL)
        if user.email_verified:
            return
        await change(connection, user.id, email_verified=True)
        await audit(connection, Action.EMAIL_VERIFIED, actor=ANONYMOUS, subject=user.id)
