"""Resolve a request's access token to a service with an active account (RFC 6750)."""

from typing import Final

from fastapi import Request

from auth_service.context import Auth
from auth_service.services.queries import is_service_token_valid
from service_kit.http import problems
from service_kit.http.bearer import invalid_token, require_scope, verified_token


async def service_caller(request: Request, auth: Auth, scope: str) -> str:
    """Return the id of the service whose token, with ``scope``, came with the request.

    Raises:
        Problem: 401 without a valid token of an active service account; 403 without the scope,
            which no user's token has.
    """
    token = await verified_token(request.headers, auth.keys)
    require_scope(token, scope)
    async with auth.reads.connect() as connection:
        if not await is_service_token_valid(connection, token):
            raise invalid_token()
    return token.subject


SERVICES_ONLY: Final = (
    problems.TWO_CREDENTIALS,
    problems.AUTHENTICATION_REQUIRED,
    problems.INVALID_TOKEN,
    problems.INSUFFICIENT_SCOPE,
)
"""Problems of a route for them."""
