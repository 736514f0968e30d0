"""Addresses that an account is about to leave, or has left: stored until a return is impossible.

Guarantees: only a verified address is stored, and only while the change can be undone. The link in
its notice stays valid through further changes by the account's present holder. The address stored
first has precedence over later ones: it is further from a thief.

Not here: the notice and its link (``accounts.change_email``).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.model import User
from auth_service.users.table import NO_PENDING_EMAIL, former_emails, users

EXPIRED_AT_ONCE_MAX: Final = 1_000
"""Addresses erased by one statement, so that it ends within milliseconds."""


async def store_former_email(connection: AsyncConnection, user: User, *, seconds: int) -> int:
    """Store the user's present address for ``seconds`` at least; return the stored row's id."""
    until = func.clock_timestamp() + timedelta(seconds=seconds)
    row = insert(former_emails).values(user_id=user.id, email=user.email, until=until)
    stored = await connection.execute(
        row.on_conflict_do_update(
            index_elements=[former_emails.c.user_id, former_emails.c.email],
            set_={"until": func.greatest(former_emails.c.until, row.excluded.until)},
        ).returning(former_emails.c.id)
    )
    stored_id: int = stored.scalar_one()
    return stored_id


async def restart_time_to_undo(
    connection: AsyncConnection, user: User, *, seconds: int
) -> Sequence[tuple[int, datetime]]:
    """Let the user go back to the present address for ``seconds`` from now.

    Returns:
        Id and end of the stored address; empty if it was never stored.
    """
    until = func.clock_timestamp() + timedelta(seconds=seconds)
    changed = await connection.execute(
        update(former_emails)
        .where(former_emails.c.user_id == user.id, former_emails.c.email == user.email)
        .values(until=until)
        .returning(former_emails.c.id, former_emails.c.until)
    )
    return [(row.id, row.until) for row in changed]


async def former_email(connection: AsyncConnection, former_email_id: int) -> str:
    """The stored address; the caller has used a link to it, which never outlives the row."""
    query = select(former_emails.c.email).where(former_emails.c.id == former_email_id)
    email: str = (await connection.execute(query)).scalar_one()
    return email


async def delete_former_emails_from(
    connection: AsyncConnection, user_id: UUID, former_email_id: int
) -> None:
    """Erase a stored address and all stored after it, with their links and mails."""
    await connection.execute(
        delete(former_emails).where(
            former_emails.c.user_id == user_id, former_emails.c.id >= former_email_id
        )
    )


async def erase_former_emails(connection: AsyncConnection, user_id: UUID) -> None:
    """Erase all stored addresses of a user."""
    await connection.execute(delete(former_emails).where(former_emails.c.user_id == user_id))


async def delete_expired_emails(connection: AsyncConnection) -> None:
    """Erase former addresses that can no longer return, and pending ones that expired."""
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
