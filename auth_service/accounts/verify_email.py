"""Verify a user's e-mail address, present or pending, with the link that was mailed to it.

The person who opens the link of the present address nearly always signed up with it, so
sessions and password stay. A pending change to another address is dropped: it was requested before
anybody had shown that the account is theirs.
"""

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.accounts.change_email import UNDO_SECONDS, apply_pending
from auth_service.audit.model import ANONYMOUS, Action
from auth_service.audit.record import audit
from auth_service.mail.erase import erase_links
from auth_service.mail.letters import Purpose
from auth_service.mail.links import InvalidLink, use_link
from auth_service.users.model import User
from auth_service.users.table import NO_PENDING_EMAIL
from auth_service.users.transaction import change_user


async def verify_email(
    engine: AsyncEngine, token: str, *, undo_seconds: int = UNDO_SECONDS
) -> User:
    """Use up the link, make its address the user's verified address, and record ``user.updated``.

    An address that is verified already changes nothing and records nothing.

    Parameters:
        undo_seconds: for how long a change of address can be undone.

    Raises:
        InvalidLink: the link may not be used.
        EmailTaken: another user has the pending address by now; the link stays unused.
        VersionsExhausted: no version is left for the change.
    """
    async with engine.begin() as connection:
        link = await use_link(connection, token, Purpose.VERIFY_EMAIL, Purpose.CONFIRM_EMAIL)
        user = link.user
        if link.purpose is Purpose.CONFIRM_EMAIL:
            if user.pending_email is None:
                raise InvalidLink
            changed = await apply_pending(connection, user, undo_seconds=undo_seconds)
            await erase_links(connection, user.id)
            action = Action.EMAIL_CHANGED
        elif user.email_verified:
            return user
        else:
            changed = await change_user(
                connection, user.id, email_verified=True, **NO_PENDING_EMAIL
            )
            await erase_links(connection, user.id, Purpose.CONFIRM_EMAIL)
            action = Action.EMAIL_VERIFIED
        await audit(connection, action, actor=ANONYMOUS, subject=user.id)
    return changed
