"""Ask for a mail to a user, in the transaction that makes it necessary."""

from uuid import UUID

from sqlalchemy import insert, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.purpose import Purpose
from auth_service.mail.table import mails
from auth_service.users.table import users


async def ask_for_mail(connection: AsyncConnection, user_id: UUID, purpose: Purpose) -> None:
    """Queue a mail; the caller commits, and wakes the sender."""
    await connection.execute(insert(mails).values(user_id=user_id, purpose=purpose))


async def ask_for_mail_to(connection: AsyncConnection, email: str, purpose: Purpose) -> None:
    """Queue a mail to the active user who has this address, if there is one.

    Nobody can tell from the answer, nor from the time that it takes, whether there is: the
    statements are the same, and a commit that wrote something does not wait for the disk here,
    since one that wrote nothing never does. What is lost when the database server crashes within
    that second is asked for again by whoever misses it.
    """
    await connection.execute(text("SET LOCAL synchronous_commit TO off"))
    holder = select(users.c.id, literal(purpose.value)).where(
        users.c.email == email, users.c.status == "active"
    )
    await connection.execute(insert(mails).from_select(["user_id", "purpose"], holder))
