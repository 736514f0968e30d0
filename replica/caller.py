"""Who calls: a service, or a user who is checked against the replica's row on every request.

Tokens are stateless, and yet deleting, disabling or revoking at the source reaches this service as
fast as the event does: a token of a revoked key is answered 401, a deleted user 401, a disabled one
403, a token issued before ``tokens_valid_after`` 401, in this order. A service's token is answered
401 when its account is deleted or disabled, or one of the account's API keys was revoked since.

Guarantees: public keys are enough, the auth service is never asked about a user; one query decides;
a user whose event has not come yet is served all the same, from a provisional row, which no token
of a revoked key ever gets.

Not here: what a caller may do (``policy``).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

import structlog
from fastapi import Depends, Request
from prometheus_client import Counter
from sqlalchemy import Row, Text, Uuid, bindparam, exists, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blog_service.context import Blog
from blog_service.policy import Action, Service, User, may
from blog_service.users.table import users
from contracts.tokens import AccessToken
from replica import users as replica
from replica.keys.table import revoked_keys
from replica.services.table import services
from service_kit.http import problems
from service_kit.http.bearer import invalid_token, users_token, verified_token
from service_kit.http.openapi import TOKEN
from service_kit.http.problems import Problem

log = structlog.get_logger()

behind = Counter(
    "usersync_requests_behind",
    "Requests whose token knew a newer version of the user than the replica",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaUser(User):
    """A user as this service knows him; what no event has told yet is None."""

    version: int
    email: str | None
    email_verified: bool
    created_at: datetime | None
    updated_at: datetime | None


Caller: TypeAlias = ReplicaUser | Service


async def current_user(request: Request, blog: Blog) -> ReplicaUser:
    """The living, active user whose token came with the request.

    Raises:
        Problem: 401 without a valid token, or when its key, its user or it itself counts no more;
            403 when he is disabled or the token is a service's; 503 without keys to verify with.
    """
    user_id, token = await users_token(request.headers, blog.verifier)
    return await _user(blog.engine, user_id, token)


async def _current_caller(request: Request, blog: Blog) -> Caller:
    token = await verified_token(request.headers, blog.verifier)
    if token.user_id is not None:
        return await _user(blog.engine, token.user_id, token)
    row = await _row(blog.engine, token)
    is_active = row.service_status in (None, "active")
    if not is_active or _is_revoked(token, row.service_tokens_valid_after):
        log.info("token.refused", reason="its service account was deleted, disabled or cut off")
        raise invalid_token()
    return Service(id=token.subject, scopes=token.scopes)


async def _user(engine: AsyncEngine, user_id: UUID, token: AccessToken) -> ReplicaUser:
    row = await _row(engine, token)
    if row.id is None:
        async with engine.begin() as connection:
            await replica.provide(connection, user_id)
            row = await _look(connection, token)
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

CurrentCaller = Annotated[Caller, Depends(_current_caller)]
"""A user as above, or a service."""

CALLER: Final = tuple(code for code in TOKEN if code is not problems.USER_REQUIRED)
"""What a route for either may answer."""


async def _operator(user: CurrentUser) -> ReplicaUser:
    if not may(user, Action.OPERATE):
        raise Problem(problems.FORBIDDEN)
    return user


async def _administrator(user: CurrentUser) -> ReplicaUser:
    if not may(user, Action.LIST_USERS):
        raise Problem(problems.FORBIDDEN)
    return user


Operator = Annotated[ReplicaUser, Depends(_operator)]
"""A caller with the role ``operator``, as the replica's row says now, whatever the token says."""

Administrator = Annotated[ReplicaUser, Depends(_administrator)]
"""A caller with the role ``admin``, likewise."""

OPERATORS_ONLY: Final = (*TOKEN, problems.FORBIDDEN)
"""What a route for them may answer."""

ADMINISTRATORS_ONLY: Final = OPERATORS_ONLY


# Built once: building it costs more than running it. A row comes in any case, so that an unknown
# user does not hide that the key is revoked. A token is a user's or a service's; the other is NULL.
_ALWAYS = select(literal_column("1").label("one")).subquery("always")
_LOOK = select(
    users,
    exists().where(revoked_keys.c.kid == bindparam("kid")).label("key_is_revoked"),
    services.c.status.label("service_status"),
    services.c.tokens_valid_after.label("service_tokens_valid_after"),
).select_from(
    _ALWAYS.outerjoin(users, users.c.id == bindparam("user_id", type_=Uuid)).outerjoin(
        services, services.c.client_id == bindparam("client_id", type_=Text)
    )
)


async def _row(engine: AsyncEngine, token: AccessToken) -> Row[Any]:
    """The user's row, without values if there is none; raises unless the key counts."""
    async with engine.connect() as connection:
        row = await _look(connection, token)
    if row.key_is_revoked:
        log.info("token.refused", reason="its key is revoked")
        raise invalid_token()
    return row


async def _look(connection: AsyncConnection, token: AccessToken) -> Row[Any]:
    client_id = token.client_id if token.user_id is None else None
    values = {"user_id": token.user_id, "kid": token.key_id, "client_id": client_id}
    return (await connection.execute(_LOOK, values)).one()


def _is_revoked(token: AccessToken, valid_after: datetime | None) -> bool:
    return valid_after is not None and token.issued_at < valid_after.timestamp()
