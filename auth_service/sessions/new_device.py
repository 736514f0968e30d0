"""Tell a user by mail of a sign-in from a device or network that was not seen with them before."""

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
    """Ask for the mail if the setting wants it, in the transaction that started ``session``.

    A device is known by the name that it gives itself, which a thief can copy; a network, by its
    keyed hash. Either of them being new is enough.
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
    if verified.is_known and await connection.scalar(before):
        return
    await request_mail(connection, verified.user.id, Purpose.NEW_DEVICE)
    auth.mail.wake()
