"""Who calls: a service, or a user who is checked against the replica's row on every request.

Tokens are stateless, and yet deleting, disabling or revoking at the source reaches this service as
fast as the event does: a token of a revoked key gets 401, a deleted user 401, a disabled one
403, a token issued before ``tokens_valid_after`` 401, in this order. A service's token gets
401 when its account is deleted or disabled, or one of the account's API keys was revoked since.

Guarantees: public keys are enough, the auth service is never asked about a user; one query decides;
a user whose event has not come yet is served all the same, from a provisional row, which no token
of a revoked key ever gets.

Not here: what a caller may do (``policy``), and the decision about a user's row (``refusals``).
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

import structlog
from fastapi import Depends, Request
from prometheus_client import Counter
from sqlalchemy import Row, Select, Table, Text, Uuid, bindparam, exists, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tokens import AccessToken
from replica.actors import Service, User, may_list_users, may_operate
from replica.context import Context, RequestContext
from replica.keys.table import revoked_keys
from replica.refusals import Refusal, is_revoked, refusal
from replica.services.table import services
from replica.table import Replica
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
    """A user as this service knows them; fields that no event has set yet are None."""

    version: int
    email: str | None
    email_verified: bool
    created_at: datetime | None
    updated_at: datetime | None


Caller: TypeAlias = ReplicaUser | Service


async def current_user(request: Request, context: RequestContext) -> ReplicaUser:
    """The living, active user whose token came with the request.

    Raises:
        Problem: 401 without a valid token, or when its key, its user or it itself counts no more;
            403 when they are disabled or the token is a service's; 503 without keys to verify with.
    """
    user_id, token = await users_token(request.headers, context.verifier)
    return await _user(context, user_id, token)


async def _current_caller(request: Request, context: RequestContext) -> Caller:
    token = await verified_token(request.headers, context.verifier)
    if token.user_id is not None:
        return await _user(context, token.user_id, token)
    row = await _row(context, token)
    is_active = row.service_status in (None, "active")
    valid_after = row.service_tokens_valid_after
    if not is_active or is_revoked(valid_after, issued_at=token.issued_at):
        log.info(
            "token.refused",
            reason="its service account was deleted, disabled or cut off",
            client_id=token.subject,
        )
        raise invalid_token()
    return Service(id=token.subject, scopes=token.scopes)


async def _user(context: Context, user_id: UUID, token: AccessToken) -> ReplicaUser:
    row = await _row(context, token)
    if row.id is None:
        async with context.engine.begin() as connection:
            await context.replica.provide(connection, user_id)
            row = await _look(context.replica, connection, token)
    refused = refusal(row.status, row.tokens_valid_after, issued_at=token.issued_at)
    if refused is not None:
        raise problem_of(refused)
    if token.user_version is not None and row.version < token.user_version:
        behind.inc()
    return to_replica_user(row)


def problem_of(refused: Refusal) -> Problem:
    """What a user gets who is not served."""
    if refused is Refusal.DISABLED:
        return Problem(problems.ACCOUNT_DISABLED)
    return invalid_token()


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
"""The responses of a route for either."""


async def _operator(user: CurrentUser) -> ReplicaUser:
    if not may_operate(user):
        raise Problem(problems.FORBIDDEN)
    return user


async def require_operator(request: Request, context: Context) -> None:
    """Check again, in the middle of a long response, that its caller may have it.

    Raises:
        Problem: as at the request's beginning.
    """
    await _operator(await current_user(request, context))


async def administrator(user: CurrentUser) -> ReplicaUser:
    """Resolve the request's token to an ``Administrator``; raises ``Problem``: 403 for others."""
    if not may_list_users(user):
        raise Problem(problems.FORBIDDEN)
    return user


async def _operator_or_administrator(user: CurrentUser) -> ReplicaUser:
    if not (may_operate(user) or may_list_users(user)):
        raise Problem(problems.FORBIDDEN)
    return user


Operator = Annotated[ReplicaUser, Depends(_operator)]
"""A caller with the role ``operator``, as the replica's row says now, not as the token says."""

Administrator = Annotated[ReplicaUser, Depends(administrator)]
"""A caller with the role ``admin``, likewise."""

OperatorOrAdministrator = Annotated[ReplicaUser, Depends(_operator_or_administrator)]
"""A caller with one of the two roles, likewise."""

OPERATORS_ONLY: Final = (*TOKEN, problems.FORBIDDEN)
"""The responses of a route for them."""

ADMINISTRATORS_ONLY: Final = OPERATORS_ONLY


@cache  # building it costs more than running it
def _select(users: Table) -> Select[Any]:
    """The statement that reads a caller: the user's columns, and what revokes their token.

    A row comes in any case, so that an unknown user does not hide that the key is revoked. A token
    is a user's or a service's; the other's columns are NULL.
    """
    always = select(literal_column("1").label("one")).subquery("always")
    return select(
        users,
        exists().where(revoked_keys.c.kid == bindparam("kid")).label("key_is_revoked"),
        services.c.status.label("service_status"),
        services.c.tokens_valid_after.label("service_tokens_valid_after"),
    ).select_from(
        always.outerjoin(users, users.c.id == bindparam("user_id", type_=Uuid)).outerjoin(
            services, services.c.client_id == bindparam("client_id", type_=Text)
        )
    )


async def _row(context: Context, token: AccessToken) -> Row[Any]:
    """The user's row, without values if there is none; raises unless the key counts."""
    async with context.engine.connect() as connection:
        row = await _look(context.replica, connection, token)
    if row.key_is_revoked:
        log.info("token.refused", reason="its key is revoked")
        raise invalid_token()
    return row


async def _look(replica: Replica, connection: AsyncConnection, token: AccessToken) -> Row[Any]:
    client_id = token.client_id if token.user_id is None else None
    values = {"user_id": token.user_id, "kid": token.key_id, "client_id": client_id}
    found: Row[Any] = (await connection.execute(_select(replica.table), values)).one()
    return found
