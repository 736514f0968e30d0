"""Claim an e-mail address before a row gets it, so that the unique index never has to refuse one.

PostgreSQL writes a refusal to its log together with the address (``Key (email)=(…) already
exists``), and that log outlives the erasure of the user.

Guarantees: each transaction that gives a user an address holds the address's advisory lock first,
so that of two at the same time the second one sees what the first one committed.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Function,
    Text,
    bindparam,
    exists,
    func,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.model import EmailTaken
from auth_service.users.table import former_emails, users

_NAMESPACE: Final = 0x6D61696C
""""mail" in ASCII: the first of the lock's two keys. The second one is the address's hash; two
addresses with the same hash only wait for each other."""


def claim_of(parameter: str) -> FromClause:
    """One row that exists once the address in the bound ``parameter`` is claimed: to insert from.

    The insert itself has to pass over an address that is taken (``ON CONFLICT DO NOTHING``), for it
    does not see what was committed while it waited for the lock.
    """
    return _lock(bindparam(parameter, type_=Text)).table_valued("claimed")


def is_reserved(email: Any, holder: UUID | None = None) -> ColumnElement[bool]:
    """Whether an account other than ``holder``'s can still go back to the address."""
    reserved = exists().where(former_emails.c.email == email, former_emails.c.until > func.now())
    return reserved if holder is None else reserved.where(former_emails.c.user_id != holder)


async def claim(connection: AsyncConnection, email: str, *, holder: UUID) -> None:
    """Hold the address until the transaction ends.

    Parameters:
        connection: in the transaction that is about to give it to a user.
        email: in its normalised form.
        holder: the user who is to get it.

    Raises:
        EmailTaken: another user has it, or can go back to it.
    """
    await connection.execute(select(_lock(literal(email, Text))))
    # A statement of its own: it sees what was committed while the first one waited for the lock.
    taken = exists().where(users.c.email == email) | is_reserved(email, holder)
    if await connection.scalar(select(taken)):
        raise EmailTaken


def _lock(email: Any) -> Function[Any]:
    return func.pg_advisory_xact_lock(_NAMESPACE, func.hashtext(email))
