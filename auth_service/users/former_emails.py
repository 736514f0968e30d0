"""Addresses that an account is about to leave, or has left: kept until nobody can go back to them.

Guarantees: only a verified address is kept, and only for as long as the change can be undone; the
link in its notice stays good whatever the account's present holder does, further changes included.
Of several, the one that was kept first goes before all that came later: it is further from a thief.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.ask import ask_for_mail
from auth_service.mail.links import bound_links
from auth_service.mail.purpose import Purpose
from auth_service.users.model import User
from auth_service.users.table import NO_PENDING_EMAIL, former_emails, users

EXPIRED_AT_ONCE_MAX = 1_000
"""Addresses erased in one statement, so that it ends in milliseconds."""


async def give_notice(connection: AsyncConnection, user: User, *, seconds: int) -> None:
    """Keep the user's present address for ``seconds``, and tell its holder how to undo the change.

    An address that was never verified is not told, and cannot come back: it proves nothing.
    """
    if not user.email_verified:
        return
    until = func.clock_timestamp() + timedelta(seconds=seconds)
    keep = insert(former_emails).values(user_id=user.id, email=user.email, until=until)
    kept = await connection.scalar(
        keep.on_conflict_do_update(
            index_elements=[former_emails.c.user_id, former_emails.c.email],
            set_={"until": func.greatest(former_emails.c.until, keep.excluded.until)},
        ).returning(former_emails.c.id)
    )
    await ask_for_mail(connection, user.id, Purpose.EMAIL_CHANGE, former_email_id=kept)


async def begin_time_to_undo(connection: AsyncConnection, user: User, *, seconds: int) -> None:
    """Have the change away from the user's present address be undone for ``seconds`` from now."""
    until = func.clock_timestamp() + timedelta(seconds=seconds)
    changed = await connection.execute(
        update(former_emails)
        .where(former_emails.c.user_id == user.id, former_emails.c.email == user.email)
        .values(until=until)
        .returning(former_emails.c.id, former_emails.c.until)
    )
    for row in changed:
        await bound_links(connection, row.id, row.until)


async def former_email(connection: AsyncConnection, former_email_id: int) -> str:
    """The address; the caller has opened a link to it, which lives no longer than it."""
    query = select(former_emails.c.email).where(former_emails.c.id == former_email_id)
    email: str = (await connection.execute(query)).scalar_one()
    return email


async def forget_since(connection: AsyncConnection, user_id: UUID, former_email_id: int) -> None:
    """Erase an address and all that were kept after it, with their links and mails."""
    await connection.execute(
        delete(former_emails).where(
            former_emails.c.user_id == user_id, former_emails.c.id >= former_email_id
        )
    )


async def erase_former_emails(connection: AsyncConnection, user_id: UUID) -> None:
    """Erase all of them, for the user is being deleted."""
    await connection.execute(delete(former_emails).where(former_emails.c.user_id == user_id))


async def forget_expired_emails(connection: AsyncConnection) -> None:
    """Erase former addresses that cannot come back, and pending ones that came too late."""
    expired = (
        select(former_emails.c.id)
        .where(former_emails.c.until < func.now())
        .limit(EXPIRED_AT_ONCE_MAX)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    await connection.execute(
        delete(former_emails).where(former_emails.c.id.in_(select(expired.c.id)))
    )
    late = (
        select(users.c.id)
        .where(users.c.pending_email_until < func.now())
        .limit(EXPIRED_AT_ONCE_MAX)
        .with_for_update(skip_locked=True)
        .cte("late")
    )
    await connection.execute(
        update(users).where(users.c.id.in_(select(late.c.id))).values(**NO_PENDING_EMAIL)
    )
