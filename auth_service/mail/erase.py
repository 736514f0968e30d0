"""Erase a user's mails and links, in the transaction that makes them pointless."""

from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.letters import Purpose
from auth_service.mail.table import mail_links, mails


async def erase_mail(connection: AsyncConnection, user_id: UUID) -> None:
    """Delete all queued mails and all links of a user; the caller commits."""
    await connection.execute(delete(mails).where(mails.c.user_id == user_id))
    await connection.execute(delete(mail_links).where(mail_links.c.user_id == user_id))


async def erase_links(connection: AsyncConnection, user_id: UUID, *purposes: Purpose) -> None:
    """Delete the user's links of ``purposes``; without any, all but those to former addresses.

    A link that undoes a change of address stays valid through later changes by the
    account's present holder: it may be needed against them.
    """
    links = delete(mail_links).where(mail_links.c.user_id == user_id)
    if purposes:
        links = links.where(mail_links.c.purpose.in_(purposes))
    else:
        links = links.where(mail_links.c.former_email_id.is_(None))
    await connection.execute(links)


async def erase_all_links(connection: AsyncConnection) -> int:
    """Delete the links of all users; return how many. The caller commits."""
    return (await connection.execute(delete(mail_links))).rowcount
