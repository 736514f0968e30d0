"""Ask for a mail to a user, in the transaction that makes it necessary.

Guarantees: every mail is asked for here, with the networks that caused it, whatever it is about; so
the sender can charge each one (``limit``). One user has a bounded number of mails in the queue.
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
"""Mails of one purpose that wait for one user: more than the limits let through in the hours for
which the mail server may be away."""

request_networks: ContextVar[tuple[str, ...]] = ContextVar("networks", default=())
"""Keyed hashes of the networks that the request at hand comes from; empty for a command."""


async def request_mail(
    connection: AsyncConnection,
    user_id: UUID,
    purpose: Purpose,
    *,
    former_email_id: int | None = None,
) -> None:
    """Queue a mail; the caller commits, and wakes the sender.

    Parameters:
        former_email_id: the former address that it goes to, in place of the present one.
    """
    holder = select(*_values(literal(user_id, Uuid), purpose, former_email_id))
    await _queue(connection, holder.where(_has_room(literal(user_id, Uuid), purpose)))


async def request_mail_to(connection: AsyncConnection, email: str, purpose: Purpose) -> None:
    """Queue a mail to the active user who has this address, if there is one.

    Nobody can tell from the answer, nor from the time that it takes, whether there is: the
    statements are the same, and a commit that wrote something does not wait for the disk here,
    since one that wrote nothing never does. What is lost when the database server crashes within
    that second is asked for again by the user who misses it.
    """
    await connection.execute(text("SET LOCAL synchronous_commit TO off"))
    holder = select(*_values(users.c.id, purpose, None)).where(
        users.c.email == email, users.c.status == "active", _has_room(users.c.id, purpose)
    )
    await _queue(connection, holder)


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


async def _queue(connection: AsyncConnection, holder: Any) -> None:
    columns = ["user_id", "purpose", "former_email_id", "networks"]
    await connection.execute(insert(mails).from_select(columns, holder))
