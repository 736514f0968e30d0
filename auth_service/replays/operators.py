"""Admit requests about replays: from users with the role ``operator`` or services with the scope.

A service may act on behalf of a user. It then sends that user's access token beside its own
(``On-Behalf-Of``). The user is checked as if they had called themselves, and the audit log names
both. Every service with the scope could forge a name without a token.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from auth_service.context import Auth
from auth_service.services.bearer import service_caller
from auth_service.sessions.bearer import OPERATOR, caller
from auth_service.sessions.queries import user_of_token
from contracts.sync.replay_limits import SCOPE
from contracts.tokens import AccessToken
from service_kit.http import problems
from service_kit.http.bearer import subject_token, verified_token
from service_kit.http.problems import Problem
from service_kit.process.actors import user_actor


@dataclass(frozen=True, slots=True)
class Requester:
    """Who requests something, as the audit log names them."""

    actor: str
    via: str | None = None
    """The service that called on the actor's behalf; None if the actor called."""


async def _requester(request: Request, auth: Auth) -> Requester:
    """Identify the user or service that calls, or the user on whose behalf a service calls.

    Raises:
        Problem: 401 without a valid token of a user who still exists or of a service; 403 without
            the role (by the user's current row) or the scope; 400 for an invalid token of the user
            on whose behalf a service acts.
    """
    token = await verified_token(request.headers, auth.keys)
    subject = await subject_token(request.headers, auth.keys)
    if token.user_id is None:
        service = await service_caller(request, auth, SCOPE)
        return (
            Requester(service)
            if subject is None
            else Requester(await _operator(subject, auth), service)
        )
    if subject is not None:
        raise Problem(problems.INVALID_SUBJECT_TOKEN, "only a service may act on behalf of a user")
    user = await caller(request, auth)
    if OPERATOR not in user.user.roles:
        raise Problem(problems.FORBIDDEN)
    return Requester(user.actor)


async def _operator(subject: AccessToken, auth: Auth) -> str:
    """Check the user whose token a service sends as in the user's own request."""
    async with auth.engine.connect() as connection:
        user = await user_of_token(connection, subject)
    if user is None:
        raise Problem(problems.INVALID_SUBJECT_TOKEN)
    if user.status == "disabled":
        raise Problem(problems.ACCOUNT_DISABLED)
    if OPERATOR not in user.roles:
        raise Problem(problems.FORBIDDEN)
    return user_actor(user.id)


Operator = Annotated[Requester, Depends(_requester)]
"""The requester of a route, admitted."""

OPERATORS_ONLY: Final = (
    problems.TWO_CREDENTIALS,
    problems.INVALID_SUBJECT_TOKEN,
    problems.AUTHENTICATION_REQUIRED,
    problems.INVALID_TOKEN,
    problems.ACCOUNT_DISABLED,
    problems.FORBIDDEN,
    problems.INSUFFICIENT_SCOPE,
)
"""The problems that such a route may respond with."""
