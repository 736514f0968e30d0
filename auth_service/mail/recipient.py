"""Find the present recipient of a mail, and the lifetime of its link.

Guarantees: only mails that verify an address go to an unverified one; a password reset is one of
them, since its link proves the address. An address found here stays the same until the transaction
ends.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.letters import NOTICES, Purpose
from auth_service.mail.queue import ClaimedMail
from auth_service.settings import ApiSettings
from auth_service.users.table import former_emails, users


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address, and the lifetime of the link that goes to it.

    Parameters:
        is_verified: whether the address was verified.
        seconds: for how long the link works, as the mail says; 0: there is no link.
        until: when the link expires, if that was set before; None: after ``seconds``.
        is_taken: whether another account has the verified address, so that there is nothing to
            confirm.
    """

    email: str
    is_verified: bool
    seconds: int = 0
    until: datetime | None = None
    is_taken: bool = False


async def find_recipient(
    connection: AsyncConnection, mail: ClaimedMail, settings: ApiSettings
) -> Recipient | None:
    """Lock the user's row and find the recipient; None if the mail is no longer needed."""
    # Locked, so that a change of address, which deletes all links, deletes this one as well.
    query = select(users, func.now().label("now")).where(users.c.id == mail.user_id)
    user = (await connection.execute(query.with_for_update(read=True))).one_or_none()
    if user is None or user.status != "active":
        return None
    match mail.purpose:
        case Purpose.EMAIL_CHANGE:
            return await _former(connection, mail, user, settings.email_undo_seconds)
        case Purpose.CONFIRM_EMAIL:
            return await _pending(connection, user, settings.verification_link_seconds)
        case Purpose.VERIFY_EMAIL if not user.email_verified:
            return Recipient(user.email, False, settings.verification_link_seconds)
        case Purpose.RESET_PASSWORD:
            return Recipient(user.email, user.email_verified, settings.reset_link_seconds)
        case purpose if purpose in NOTICES and user.email_verified:
            return Recipient(user.email, True)
    return None


async def _former(
    connection: AsyncConnection, mail: ClaimedMail, user: Row[Any], seconds: int
) -> Recipient | None:
    query = select(former_emails.c.email, former_emails.c.until).where(
        former_emails.c.id == mail.former_email_id, former_emails.c.until > user.now
    )
    former = (await connection.execute(query)).one_or_none()
    return Recipient(former.email, True, seconds, former.until) if former else None


async def _pending(connection: AsyncConnection, user: Row[Any], seconds: int) -> Recipient | None:
    if user.pending_email is None or user.pending_email_until <= user.now:
        return None
    taken = exists().where(users.c.email == user.pending_email, users.c.email_verified)
    is_taken = bool(await connection.scalar(select(taken)))
    return Recipient(user.pending_email, False, seconds, user.pending_email_until, is_taken)
