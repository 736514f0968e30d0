"""Forget a user's mails and links, in the transaction that makes them pointless."""

from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.table import mail_links, mails


async def erase_mail(connection: AsyncConnection, user_id: UUID) -> None:
    """Delete what waits to be sent to the user, and every link that he has; the caller commits."""
    await connection.execute(delete(mails).where(mails.c.user_id == user_id))
    await erase_links(connection, user_id)


async def erase_links(connection: AsyncConnection, user_id: UUID) -> None:
    """Delete the user's links, such as those sent to an address that he no longer has."""
    await connection.execute(delete(mail_links).where(mail_links.c.user_id == user_id))


async def erase_all_links(connection: AsyncConnection) -> int:
    """Delete the links of everybody; the caller commits. How many there were."""
    return (await connection.execute(delete(mail_links))).rowcount
