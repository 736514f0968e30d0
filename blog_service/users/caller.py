"""Who calls: the token's user, checked against the replica's row on every request.

Tokens are stateless, and yet deleting, disabling or revoking at the source reaches this service as
fast as the event does: a deleted user is answered 401, a disabled one 403, a token issued before
``tokens_valid_after`` 401.

Guarantees: the public key is enough, the auth service is never asked; a user whose event has not
come yet is served all the same, from a provisional row.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from prometheus_client import Counter
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.context import Blog
from blog_service.users import replica
from blog_service.users.table import users
from contracts import problems
from contracts.bearer import invalid_token, users_token
from contracts.problems import Problem
from contracts.tokens import AccessToken

behind = Counter(
    "usersync_requests_behind",
    "Requests whose token knew a newer version of the user than the replica",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaUser:
    """A user as this service knows him; what no event has told yet is None."""

    id: UUID
    version: int
    email: str | None
    email_verified: bool
    roles: tuple[str, ...]
    status: str
    created_at: datetime | None
    updated_at: datetime | None


async def current_user(request: Request, blog: Blog) -> ReplicaUser:
    """The living, active user whose token came with the request.

    Raises:
        Problem: 401 without a valid token, or when its user is deleted or it was revoked; 403 when
            he is disabled or the token is a service's.
    """
    user_id, token = users_token(request.headers, blog.verifier)
    row = await _row(blog.engine, user_id)
    if row.status == "deleted" or _is_revoked(token, row.tokens_valid_after):
        raise invalid_token()
    if row.status == "disabled":
        raise Problem(problems.ACCOUNT_DISABLED)
    if token.user_version is not None and row.version < token.user_version:
        behind.inc()
    return ReplicaUser(
        id=row.id,
        version=row.version,
        email=row.email,
        email_verified=row.email_verified,
        roles=tuple(row.roles),
        status=row.status,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


CurrentUser = Annotated[ReplicaUser, Depends(current_user)]


async def _row(engine: AsyncEngine, user_id: UUID) -> Row[tuple[object, ...]]:
    query = select(users).where(users.c.id == user_id)
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is not None:
        return row
    async with engine.begin() as connection:
        await replica.provide(connection, user_id)
        return (await connection.execute(query)).one()


def _is_revoked(token: AccessToken, valid_after: datetime | None) -> bool:
    return valid_after is not None and token.issued_at < valid_after.timestamp()
