"""Links in mails: created when the mail is sent, used once, before they expire.

Guarantees: a link cannot be guessed (256 random bits), nor read from the database, which holds only
its hash. Of several concurrent uses one succeeds, in the transaction of the change that the link is
for. A wrong, used or expired link, or one whose user is not active, gets one and the same error.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.letters import Purpose
from auth_service.mail.table import mail_links
from auth_service.users.model import NoSuchUser, User
from auth_service.users.table import to_user, users
from auth_service.users.transaction import lock_user

TOKEN_BYTES: Final = 32

EXPIRED_AT_ONCE_MAX: Final = 1_000
"""Expired links deleted by one statement, so that it ends within milliseconds."""


class InvalidLink(Exception):
    """The link is wrong, used or expired, or its user is disabled or deleted."""


@dataclass(frozen=True, slots=True)
class UsedLink:
    """A link that was used up.

    Parameters:
        user: its active user, whose row is locked until the transaction ends.
        purpose: what it was for.
        former_email_id: the former address that it was mailed to; None: the present one.
    """

    user: User
    purpose: Purpose
    former_email_id: int | None


async def create_link(
    connection: AsyncConnection,
    user_id: UUID,
    purpose: Purpose,
    *,
    until: datetime | None = None,
    seconds: int = 0,
    former_email_id: int | None = None,
) -> str:
    """Store a new link and return its token, which is stored nowhere.

    Parameters:
        until: when the link expires; None: after ``seconds``.
        former_email_id: the former address that it is mailed to; None: the present one.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await connection.execute(
        insert(mail_links).values(
            token_hash=_hash(token),
            user_id=user_id,
            purpose=purpose,
            expires_at=until or func.clock_timestamp() + timedelta(seconds=seconds),
            former_email_id=former_email_id,
        )
    )
    return token


async def limit_links(connection: AsyncConnection, former_email_id: int, until: datetime) -> None:
    """Set when the links that were mailed to a former address expire."""
    await connection.execute(
        update(mail_links)
        .where(mail_links.c.former_email_id == former_email_id)
        .values(expires_at=until)
    )


async def user_of_link(connection: AsyncConnection, token: str, *purposes: Purpose) -> User:
    """The user of a link, without using it up; raises ``InvalidLink``."""
    query = (
        select(users)
        .join(mail_links, mail_links.c.user_id == users.c.id)
        .where(*_live(token, purposes), users.c.status == "active")
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise InvalidLink
    return to_user(row)


async def use_link(connection: AsyncConnection, token: str, *purposes: Purpose) -> UsedLink:
    """Use up a link of one of ``purposes``; the caller commits that with the change it is for.

    The user's row is locked first, as in every use case. A change that invalidates their links (a
    new address or password, their deletion) has therefore been committed, or waits.

    Raises:
        InvalidLink: the link may not be used.
    """
    owner = await user_of_link(connection, token, *purposes)
    try:
        user = await lock_user(connection, owner.id)
    except NoSuchUser:
        raise InvalidLink from None
    used = await connection.execute(
        delete(mail_links)
        .where(*_live(token, purposes))
        .returning(mail_links.c.purpose, mail_links.c.former_email_id)
    )
    row = used.one_or_none()
    if row is None or user.status != "active":
        raise InvalidLink
    return UsedLink(user, Purpose(row.purpose), row.former_email_id)


async def delete_expired_links(connection: AsyncConnection) -> None:
    """Delete a bounded number of expired links."""
    expired = (
        select(mail_links.c.token_hash)
        .where(mail_links.c.expires_at < func.now())
        .limit(EXPIRED_AT_ONCE_MAX)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    await connection.execute(
        delete(mail_links).where(mail_links.c.token_hash.in_(select(expired.c.token_hash)))
    )


def _live(token: str, purposes: Sequence[Purpose]) -> tuple[ColumnElement[bool], ...]:
    return (
        mail_links.c.token_hash == _hash(token),
        mail_links.c.purpose.in_(purposes),
        mail_links.c.expires_at > func.clock_timestamp(),
    )


def _hash(token: str) -> bytes:
    # A plain hash is enough: the tokens are random, so there is no list to try.
    return hashlib.sha256(token.encode()).digest()
