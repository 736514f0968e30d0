"""Who may ask for replays: users with the role ``operator``, and services with the scope."""

from typing import Annotated, Final

from fastapi import Depends, Request

from auth_service.context import Auth
from auth_service.services.bearer import service_caller
from auth_service.sessions.bearer import OPERATOR, caller
from contracts import problems
from contracts.bearer import verified_token
from contracts.problems import Problem

SCOPE: Final = "replays:write"


async def _actor(request: Request, auth: Auth) -> str:
    """How the audit log names whoever calls.

    Raises:
        Problem: 401 without a valid token of a user who still exists or of a service, 403 without
            the role, as the user's row says now, or the scope.
    """
    token = await verified_token(request.headers, auth.keys)
    if token.user_id is None:
        return await service_caller(request, auth, SCOPE)
    user = await caller(request, auth)
    if OPERATOR not in user.user.roles:
        raise Problem(problems.FORBIDDEN)
    return user.actor


Operator = Annotated[str, Depends(_actor)]
"""The actor, who may."""

OPERATORS_ONLY: Final = (
    problems.TWO_CREDENTIALS,
    problems.AUTHENTICATION_REQUIRED,
    problems.INVALID_TOKEN,
    problems.ACCOUNT_DISABLED,
    problems.FORBIDDEN,
    problems.INSUFFICIENT_SCOPE,
)
"""What a route for them may answer."""
