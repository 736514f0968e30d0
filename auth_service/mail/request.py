"""Request a mail to a user, in the transaction that makes it necessary.

Guarantees: every mail is queued here, with the networks that caused it, so that the sender can
charge each one (``limit``). One user has a bounded number of mails in the queue.
"""

from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.letters import Purpose
from auth_service.mail.table import mails
from auth_service.users.table import users
from service_kit.database.statements import Statement
from service_kit.database.transactions import Transaction

WAITING_MAX: Final = 10
"""Queued mails of one purpose to one user: more than the limits let through during the hours for
which the mail server may be down."""

request_networks: ContextVar[tuple[str, ...]] = ContextVar("networks", default=())
"""Keyed hashes of the networks that the current request comes from; empty for a command."""


_PURPOSE: Final = bindparam("mail_purpose", type_=Text)
_CAUSES: Final = bindparam("causes", type_=ARRAY(Text))


def _queue(user_id: Any, *recipients: ColumnElement[bool]) -> Statement:
    """Queue a mail to each of ``recipients``, unless too many of its kind wait."""
    waiting = select(func.count()).where(mails.c.user_id == user_id, mails.c.purpose == _PURPOSE)
    mail = select(user_id, _PURPOSE, bindparam("address_id", type_=BigInteger), _CAUSES)
    columns = ["user_id", "purpose", "former_email_id", "networks"]
    has_room = waiting.scalar_subquery() < WAITING_MAX
    return Statement(insert(mails).from_select(columns, mail.where(*recipients, has_room)))


_REQUEST: Final = _queue(bindparam("recipient_id", type_=Uuid))
_REQUEST_TO: Final = _queue(
    users.c.id,
    users.c.email == bindparam("recipient_email", type_=Text),
    users.c.status == "active",
)


async def request_mail(
    connection: AsyncConnection | Transaction,
    user_id: UUID,
    purpose: Purpose,
    *,
    former_email_id: int | None = None,
) -> None:
    """Queue a mail; the caller commits, and wakes the sender.

    Parameters:
        former_email_id: the former address that it goes to; None: the present one.
    """
    await _REQUEST.on(
        connection,
        {"recipient_id": user_id, **_parameters(purpose, former_email_id)},
    )


async def request_mail_to(connection: AsyncConnection, email: str, purpose: Purpose) -> None:
    """Queue a mail to the active user who has this address, if there is one.

    Neither the response nor its timing shows whether there is one. The statements are the same, and
    the commit does not wait for the disk, just like one that wrote nothing. If the database server
    crashes within that second, the mail is lost, and its user requests another.
    """
    await connection.execute(text("SET LOCAL synchronous_commit TO off"))
    await _REQUEST_TO.on(
        connection,
        {"recipient_email": email, **_parameters(purpose, None)},
    )


def _parameters(purpose: Purpose, former_email_id: int | None) -> dict[str, object]:
    """The parameters that both statements have."""
    return {
        "mail_purpose": purpose.value,
        "address_id": former_email_id,
        "causes": list(request_networks.get()),
    }
