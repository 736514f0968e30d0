"""The user behind a request's access token (RFC 6750), checked against his row as it is now."""

from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Request

from auth_service.context import Auth
from auth_service.sessions.queries import user_of_token
from auth_service.users.administrators import ADMINISTRATOR
from auth_service.users.model import User
from service_kit.http import problems
from service_kit.http.bearer import invalid_token, users_token
from service_kit.http.openapi import TOKEN
from service_kit.http.problems import Problem
from service_kit.process.actors import user_actor

OPERATOR: Final = "operator"
"""The role of those who see to the pipe: its figures, and replays."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A user, and the session in which he calls."""

    user: User
    session_id: UUID | None

    @property
    def actor(self) -> str:
        """How the audit log names him."""
        return user_actor(self.user.id)


async def _caller_even_disabled(request: Request, auth: Auth) -> Caller:
    """The living user whose token came with the request; an active one's session still lasts.

    Raises:
        Problem: 401 without a valid token of a user who still exists, 403 when the token is a
            service's.
    """
    _, token = await users_token(request.headers, auth.keys)
    async with auth.engine.connect() as connection:
        user = await user_of_token(connection, token)
    if user is None:
        raise invalid_token()
    return Caller(user, token.session_id)


CallerEvenDisabled = Annotated[Caller, Depends(_caller_even_disabled)]
"""A caller who may be disabled, and whose token then counts though it was revoked: for what the
password confirms as well."""


async def caller(request: Request, auth: Auth) -> Caller:
    """The living, active user whose token came with the request, from a session that lasts.

    Raises:
        Problem: as for ``EvenDisabled``, and 403 when the user is disabled.
    """
    found = await _caller_even_disabled(request, auth)
    if found.user.status == "disabled":
        raise Problem(problems.ACCOUNT_DISABLED)
    return found


CurrentCaller = Annotated[Caller, Depends(caller)]


async def _user(caller: CurrentCaller) -> User:
    return caller.user


CurrentUser = Annotated[User, Depends(_user)]


async def _administrator(caller: CurrentCaller) -> Caller:
    if ADMINISTRATOR not in caller.user.roles:
        raise Problem(problems.FORBIDDEN)
    return caller


Administrator = Annotated[Caller, Depends(_administrator)]
"""A caller with the role ``admin``, as his row says now, whatever the token says."""

ADMINISTRATORS_ONLY = (*TOKEN, problems.FORBIDDEN)
"""What a route for them may answer."""


async def _operator(caller: CurrentCaller) -> Caller:
    if OPERATOR not in caller.user.roles:
        raise Problem(problems.FORBIDDEN)
    return caller


Operator = Annotated[Caller, Depends(_operator)]
"""A caller with the role ``operator``, as his row says now, whatever the token says."""

OPERATORS_ONLY = ADMINISTRATORS_ONLY
"""What a route for them may answer."""
