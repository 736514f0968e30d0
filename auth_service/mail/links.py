"""Links in mails: made when the mail is sent, opened once, and not after their time.

Guarantees: a link cannot be guessed (256 random bits), nor read out of the database, which has its
hash alone; of many who open it at once one succeeds, in the transaction of what he opens it for; a
link that is wrong, used, expired, or of a user who may not use it, is one and the same error.
"""

import hashlib
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.mail.purpose import Purpose
from auth_service.mail.table import mail_links
from auth_service.users.lock import locked_user
from auth_service.users.model import NoSuchUser, User
from auth_service.users.table import to_user, users

TOKEN_BYTES: Final = 32

EXPIRED_AT_ONCE_MAX: Final = 1_000
"""Expired links deleted in one statement, so that it ends in milliseconds."""


class InvalidLink(Exception):
    """The link is wrong, was used, has expired, or its user is disabled or gone."""


async def make_link(
    connection: AsyncConnection, user_id: UUID, purpose: Purpose, *, seconds: int
) -> str:
    """Store a new link that works for ``seconds``; returns its token, which is kept nowhere."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await connection.execute(
        insert(mail_links).values(
            token_hash=_hash(token),
            user_id=user_id,
            purpose=purpose,
            expires_at=func.clock_timestamp() + timedelta(seconds=seconds),
        )
    )
    return token


async def link_holder(connection: AsyncConnection, token: str, purpose: Purpose) -> User:
    """The user whose link this is, which stays unused; raises ``InvalidLink``."""
    query = (
        select(users)
        .join(mail_links, mail_links.c.user_id == users.c.id)
        .where(*_live(token, purpose), users.c.status == "active")
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise InvalidLink
    return to_user(row)


async def open_link(connection: AsyncConnection, token: str, purpose: Purpose) -> User:
    """Use the link up; the caller commits that together with what it was for.

    The user's row is locked first, as in every use case: then what ends his links (a new address or
    password, his deletion) is either over, and seen here, or has to wait.

    Returns:
        The user whose link it was, active, his row locked until the transaction ends.

    Raises:
        InvalidLink: it may not be used.
    """
    holder = await link_holder(connection, token, purpose)
    try:
        user = await locked_user(connection, holder.id)
    except NoSuchUser:
        raise InvalidLink from None
    used = await connection.execute(delete(mail_links).where(*_live(token, purpose)))
    if used.rowcount != 1 or user.status != "active":
        raise InvalidLink
    return user


async def delete_expired_links(connection: AsyncConnection) -> None:
    """Delete links that nobody can use any more, a bounded number of them."""
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


def _live(token: str, purpose: Purpose) -> tuple[ColumnElement[bool], ...]:
    return (
        mail_links.c.token_hash == _hash(token),
        mail_links.c.purpose == purpose,
        mail_links.c.expires_at > func.clock_timestamp(),
    )


def _hash(token: str) -> bytes:
    # A plain hash is enough: there is no list of likely tokens to try.
    return hashlib.sha256(token.encode()).digest()
