"""Resolve a request's access token to its user (RFC 6750), as their row is at this moment."""

from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Request

from auth_service.context import Auth, Context
from auth_service.sessions.queries import user_of_token
from auth_service.users.administrators import ADMINISTRATOR
from auth_service.users.model import User
from service_kit.http import problems
from service_kit.http.bearer import invalid_token, users_token
from service_kit.http.openapi import TOKEN
from service_kit.http.problems import Problem
from service_kit.process.actors import user_actor

OPERATOR: Final = "operator"
"""The role that allows an operator to see the pipe's figures and to run replays."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A user, and the session of their request.

    ``authenticated_at``: when they last gave their password in it, as their token says; in seconds
    since 1970.
    """

    user: User
    session_id: UUID | None
    authenticated_at: int | None

    @property
    def actor(self) -> str:
        """How the audit log names them."""
        return user_actor(self.user.id)


async def _caller_even_disabled(request: Request, auth: Auth) -> Caller:
    """Resolve the request's token to a living user; an active user's session must not have ended.

    Raises:
        Problem: 401 without a valid token of an existing user, 403 for a service's token.
    """
    _, token = await users_token(request.headers, auth.keys)
    async with auth.reads.connect() as connection:
        user = await user_of_token(connection, token)
    if user is None:
        raise invalid_token()
    return Caller(user, token.session_id, token.authenticated_at)


CallerEvenDisabled = Annotated[Caller, Depends(_caller_even_disabled)]
"""A caller who may be disabled, and whose token is then accepted even if it was revoked: for routes
that also require the password."""


async def caller(request: Request, auth: Auth) -> Caller:
    """Resolve the request's token to an active user with a session that has not ended.

    Raises:
        Problem: as for ``CallerEvenDisabled``, and 403 if the user is disabled.
    """
    found = await _caller_even_disabled(request, auth)
    if found.user.status == "disabled":
        raise Problem(problems.ACCOUNT_DISABLED)
    return found


CurrentCaller = Annotated[Caller, Depends(caller)]


async def _user(caller: CurrentCaller) -> User:
    return caller.user


CurrentUser = Annotated[User, Depends(_user)]


async def administrator(caller: CurrentCaller) -> Caller:
    """Resolve the request's token to an ``Administrator``; raises ``Problem``: 403 for others."""
    if ADMINISTRATOR not in caller.user.roles:
        raise Problem(problems.FORBIDDEN)
    return caller


Administrator = Annotated[Caller, Depends(administrator)]
"""A caller with the role ``admin``: the row counts, not the token."""

ADMINISTRATORS_ONLY = (*TOKEN, problems.FORBIDDEN)
"""Problems of a route for them."""


async def _operator(caller: CurrentCaller) -> Caller:
    if OPERATOR not in caller.user.roles:
        raise Problem(problems.FORBIDDEN)
    return caller


Operator = Annotated[Caller, Depends(_operator)]
"""A caller with the role ``operator``: the row counts, not the token."""


async def require_operator(request: Request, auth: Context) -> None:
    """Check again, in the middle of a long response, that its caller may have it.

    Raises:
        Problem: as at the request's beginning.
    """
    await _operator(await caller(request, auth))


async def _operator_or_administrator(caller: CurrentCaller) -> Caller:
    if not {OPERATOR, ADMINISTRATOR} & set(caller.user.roles):
        raise Problem(problems.FORBIDDEN)
    return caller


OperatorOrAdministrator = Annotated[Caller, Depends(_operator_or_administrator)]
"""A caller with one of the two roles: the row counts, not the token."""

OPERATORS_ONLY = ADMINISTRATORS_ONLY
"""Problems of a route for them."""
