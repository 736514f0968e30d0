"""Notify a user by mail of a sign-in from an unknown device or network."""

from typing import Final

from sqlalchemy import Text, Uuid, bindparam, exists, select

from auth_service.context import Context
from auth_service.mail.letters import Purpose
from auth_service.mail.request import request_mail
from auth_service.sessions.model import NewSession
from auth_service.sessions.sign_in import Verified
from auth_service.sessions.table import sessions
from service_kit.database.statements import Statement
from service_kit.database.transactions import Transaction

_IS_KNOWN: Final = Statement(
    select(
        exists()
        .where(
            sessions.c.user_id == bindparam("known_user_id", type_=Uuid),
            sessions.c.id != bindparam("new_session_id", type_=Uuid),
            sessions.c.user_agent.is_not_distinct_from(bindparam("known_agent", type_=Text)),
        )
        .label("is_known")
    )
)


async def notify_of_new_device(
    auth: Context, begun: Transaction, verified: Verified, session: NewSession
) -> None:
    """Request the mail, if the setting is on, in the transaction that started ``session``.

    A device is recognised by its User-Agent, which a thief can copy; a network, by its keyed hash.
    One of the two being new is enough.
    """
    if auth.mail is None or not auth.settings.mail_new_device:
        return
    device = {
        "known_user_id": verified.user.id,
        "new_session_id": session.id,
        "known_agent": session.user_agent,
    }
    if verified.from_known_network and (await _IS_KNOWN.on(begun, device))[0]["is_known"]:
        return
    await request_mail(begun, verified.user.id, Purpose.NEW_DEVICE)
    auth.mail.wake()
