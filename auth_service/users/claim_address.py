"""Claim an e-mail address before a row gets it, so that the unique index never refuses one.

PostgreSQL would log a refusal together with the address (``Key (email)=(…) already exists``), and
that log outlives the erasure of the user.

Guarantees: each transaction that gives a user an address takes the address's advisory lock first.
Of two at the same time, the second one therefore sees what the first one committed.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Function,
    Text,
    bindparam,
    exists,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.model import EmailTaken
from auth_service.users.table import FIRST_VERSION, former_emails, users

_NAMESPACE: Final = 0x6D61696C
""""mail" in ASCII: the first of the lock's two keys. The second is the address's hash;
addresses with the same hash only wait for each other."""


def _lock(email: Any) -> Function[Any]:
    return func.pg_advisory_xact_lock(_NAMESPACE, func.hashtext(email))


def _is_reserved(email: Any, user_id: UUID | None = None) -> ColumnElement[bool]:
    """Whether an account other than the user's can still go back to the address."""
    reserved = exists().where(former_emails.c.email == email, former_emails.c.until > func.now())
    return reserved if user_id is None else reserved.where(former_emails.c.user_id != user_id)


_NEW_EMAIL: Final = bindparam("new_email", type_=Text)

NEW_USER: Final[CTE] = (
    insert(users)
    .from_select(
        ["email", "password_hash", "roles", "version"],
        select(
            _NEW_EMAIL,
            bindparam("new_hash", type_=Text),
            bindparam("new_roles", type_=ARRAY(Text)),
            FIRST_VERSION,
        )
        # One row, which exists once the lock is taken.
        .select_from(_lock(_NEW_EMAIL).table_valued("claimed"))
        .where(~_is_reserved(_NEW_EMAIL)),
    )
    # The statement does not see what was committed while it waited for the lock.
    .on_conflict_do_nothing(index_elements=[users.c.email])
    .returning(users)
    .cte("created")
)
"""Inserts a user, unless the address is taken: to select from. Its parameters are
``new_user_parameters``."""


def new_user_parameters(
    email: str, password_hash: str, roles: Sequence[str] = ()
) -> dict[str, object]:
    """The parameters of ``NEW_USER``; ``roles`` are sorted, each once."""
    return {"new_email": email, "new_hash": password_hash, "new_roles": list(roles)}


# In the order of the keys, so that two transactions with many addresses never wait for each other.
_CLAIM_MANY: Final = text(
    """
    SELECT pg_advisory_xact_lock(:namespace, key) FROM (
        SELECT DISTINCT hashtext(email) AS key FROM unnest(CAST(:emails AS text[])) AS email
        ORDER BY key
    ) AS keys
    """
)


async def claim_addresses(connection: AsyncConnection, emails: Sequence[str]) -> None:
    """Claim addresses until the transaction ends; what is read then is as of the claim.

    Parameters:
        emails: in their normalised form. Each is a lock in a table that PostgreSQL makes room in
            for some thousands.
    """
    await connection.execute(_CLAIM_MANY, {"namespace": _NAMESPACE, "emails": emails})


async def claim_address(connection: AsyncConnection, email: str, *, user_id: UUID) -> None:
    """Claim the address until the transaction ends.

    Parameters:
        connection: in the transaction that is about to give the address to a user.
        email: in its normalised form.
        user_id: the user who is to get it.

    Raises:
        EmailTaken: another user has it, or can go back to it.
    """
    await connection.execute(select(_lock(literal(email, Text))))
    # A statement of its own: it sees what was committed while the first one waited for the lock.
    taken = exists().where(users.c.email == email) | _is_reserved(email, user_id)
    if await connection.scalar(select(taken)):
        raise EmailTaken
