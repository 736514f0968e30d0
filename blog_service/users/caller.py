"""Who calls: the token's user, checked against the replica's row on every request.

Tokens are stateless, and yet deleting, disabling or revoking at the source reaches this service as
fast as the event does: a token of a revoked key is answered 401, a deleted user 401, a disabled one
403, a token issued before ``tokens_valid_after`` 401, in this order.

Guarantees: public keys are enough, the auth service is never asked about a user; one query decides;
a user whose event has not come yet is served all the same, from a provisional row, which no token
of a revoked key ever gets.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import Depends, Request
from prometheus_client import Counter
from sqlalchemy import Row, Uuid, bindparam, exists, literal_column, select
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.context import Blog
from blog_service.keys.table import revoked_keys
from blog_service.users import replica
from blog_service.users.table import users
from contracts import problems
from contracts.bearer import invalid_token, users_token
from contracts.openapi import TOKEN
from contracts.problems import Problem
from contracts.tokens import AccessToken

log = structlog.get_logger()

OPERATOR: Final = "operator"
"""The role of those who see to what is parked, compared and replayed."""

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
        Problem: 401 without a valid token, or when its key, its user or it itself counts no more;
            403 when he is disabled or the token is a service's; 503 without keys to verify with.
    """
    user_id, token = await users_token(request.headers, blog.verifier)
    row = await _row(blog.engine, user_id, token.key_id)
    if row.status == "deleted":
        raise invalid_token()
    if row.status == "disabled":
        raise Problem(problems.ACCOUNT_DISABLED)
    if _is_revoked(token, row.tokens_valid_after):
        raise invalid_token()
    if token.user_version is not None and row.version < token.user_version:
        behind.inc()
    return to_replica_user(row)


def to_replica_user(row: Row[Any]) -> ReplicaUser:
    """The user in ``row``, which has all columns of the table."""
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


async def _operator(user: CurrentUser) -> ReplicaUser:
    if OPERATOR not in user.roles:
        raise Problem(problems.FORBIDDEN)
    return user


Operator = Annotated[ReplicaUser, Depends(_operator)]
"""A caller with the role ``operator``, as the replica's row says now, whatever the token says."""

OPERATORS_ONLY: Final = (*TOKEN, problems.FORBIDDEN)
"""What a route for them may answer."""


# Built once: building it costs more than running it. A row comes in any case, so that an unknown
# user does not hide that the key is revoked.
_ALWAYS = select(literal_column("1").label("one")).subquery("always")
_LOOK = select(
    users,
    exists().where(revoked_keys.c.kid == bindparam("kid")).label("key_is_revoked"),
).select_from(_ALWAYS.outerjoin(users, users.c.id == bindparam("user_id", type_=Uuid)))


async def _row(engine: AsyncEngine, user_id: UUID, key_id: str) -> Row[Any]:
    values = {"user_id": user_id, "kid": key_id}
    async with engine.connect() as connection:
        row = (await connection.execute(_LOOK, values)).one()
    if row.key_is_revoked:
        log.info("token.refused", reason="its key is revoked")
        raise invalid_token()
    if row.id is not None:
        return row
    async with engine.begin() as connection:
        await replica.provide(connection, user_id)
        return (await connection.execute(_LOOK, values)).one()


def _is_revoked(token: AccessToken, valid_after: datetime | None) -> bool:
    return valid_after is not None and token.issued_at < valid_after.timestamp()
