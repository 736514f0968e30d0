"""Notify a user by mail of a sign-in from an unknown device or network."""

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.context import Context
from auth_service.mail.letters import Purpose
from auth_service.mail.request import request_mail
from auth_service.sessions.model import NewSession
from auth_service.sessions.sign_in import Verified
from auth_service.sessions.table import sessions


async def notify_of_new_device(
    auth: Context, connection: AsyncConnection, verified: Verified, session: NewSession
) -> None:
    """Request the mail, if the setting is on, in the transaction that started ``session``.

    A device is recognised by its User-Agent, which a thief can copy; a network, by its keyed hash.
    One of the two being new is enough.
    """
    if auth.mail is None or not auth.settings.mail_new_device:
        return
    before = select(
        exists().where(
            sessions.c.user_id == verified.user.id,
            sessions.c.id != session.id,
            sessions.c.user_agent.is_not_distinct_from(session.user_agent),
        )
    )
    if verified.from_known_network and await connection.scalar(before):
        return
    await request_mail(connection, verified.user.id, Purpose.NEW_DEVICE)
    auth.mail.wake()
