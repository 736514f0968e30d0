"""Request a mail to a user, in the transaction that makes it necessary.

Guarantees: every mail is queued here, with the networks that caused it, so that the sender can
charge each one (``limit``). One user has a bounded number of mails in the queue.
"""

from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text, Uuid, func, insert, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.letters import Purpose
from auth_service.mail.table import mails
from auth_service.users.table import users

WAITING_MAX: Final = 10
"""Queued mails of one purpose to one user: more than the limits let through during the hours for
which the mail server may be down."""

request_networks: ContextVar[tuple[str, ...]] = ContextVar("networks", default=())
"""Keyed hashes of the networks that the current request comes from; empty for a command."""


async def request_mail(
    connection: AsyncConnection,
    user_id: UUID,
    purpose: Purpose,
    *,
    former_email_id: int | None = None,
) -> None:
    """Queue a mail; the caller commits, and wakes the sender.

    Parameters:
        former_email_id: the former address that it goes to; None: the present one.
    """
    recipient = select(*_values(literal(user_id, Uuid), purpose, former_email_id))
    await _queue(connection, recipient.where(_has_room(literal(user_id, Uuid), purpose)))


async def request_mail_to(connection: AsyncConnection, email: str, purpose: Purpose) -> None:
    """Queue a mail to the active user who has this address, if there is one.

    Neither the response nor its timing shows whether there is one. The statements are the same, and
    the commit does not wait for the disk, just like one that wrote nothing. If the database server
    crashes within that second, the mail is lost, and its user requests another.
    """
    await connection.execute(text("SET LOCAL synchronous_commit TO off"))
    recipient = select(*_values(users.c.id, purpose, None)).where(
        users.c.email == email, users.c.status == "active", _has_room(users.c.id, purpose)
    )
    await _queue(connection, recipient)


def _values(user_id: Any, purpose: Purpose, former_email_id: int | None) -> tuple[Any, ...]:
    return (
        user_id,
        literal(purpose.value, Text),
        literal(former_email_id, BigInteger),
        literal(list(request_networks.get()), ARRAY(Text)),
    )


def _has_room(user_id: Any, purpose: Purpose) -> Any:
    waiting = select(func.count()).where(mails.c.user_id == user_id, mails.c.purpose == purpose)
    return waiting.scalar_subquery() < WAITING_MAX


async def _queue(connection: AsyncConnection, recipient: Any) -> None:
    columns = ["user_id", "purpose", "former_email_id", "networks"]
    await connection.execute(insert(mails).from_select(columns, recipient))
