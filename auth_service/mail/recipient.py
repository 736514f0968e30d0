"""The present recipient of a mail, and the link that it gets.

Guarantees: only the mail that verifies an address goes to one that nobody has verified; a reset of
the password is one as well where the link proves the address. An address that is looked up here
stays what it is until the transaction ends.
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
    """An address, and the link that it gets.

    Parameters:
        is_verified: whether its holder has opened a link that only this mailbox got.
        seconds: for how long the link works, as the mail says; 0: it has none.
        until: when it stops working, where that was settled before; else after ``seconds``.
        is_taken: another account has the address, verified: there is nothing to confirm.
    """

    email: str
    is_verified: bool
    seconds: int = 0
    until: datetime | None = None
    is_taken: bool = False


async def find_recipient(
    connection: AsyncConnection, mail: ClaimedMail, settings: ApiSettings
) -> Recipient | None:
    """The recipient, the user's row locked; None if there is no need for the mail any more."""
    # Locked, so that a change of address, which ends all links, ends this one as well.
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
