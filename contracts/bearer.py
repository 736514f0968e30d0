"""The bearer token of a request, and the answers to a missing or bad one (RFC 6750).

A token comes in the ``Authorization`` header alone, never in the address, which ends up in logs.
"""

from uuid import UUID

import structlog
from starlette.datastructures import Headers

from contracts import problems
from contracts.problems import Problem
from contracts.tokens import AccessToken, InvalidToken, TokenVerifier

log = structlog.get_logger()


def token_of(headers: Headers) -> str:
    """The token that came with the request.

    Raises:
        Problem: 401 without an error code when there is none (RFC 6750 3.1), 400 when there are
            two ``Authorization`` headers.
    """
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise Problem(problems.TWO_CREDENTIALS, headers=challenge("invalid_request"))
    scheme, _, token = sent[0].partition(" ") if sent else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Problem(problems.AUTHENTICATION_REQUIRED, headers=challenge())
    return token.strip()


def invalid_token() -> Problem:
    """The one answer to every token that is not accepted; which check failed stays untold."""
    return Problem(problems.INVALID_TOKEN, headers=challenge("invalid_token"))


def users_token(headers: Headers, verifier: TokenVerifier) -> tuple[UUID, AccessToken]:
    """The user whom a request's token names, and the token.

    Raises:
        Problem: 401 without a valid token, 403 for a service's.
    """
    try:
        token = verifier.verify(token_of(headers))
    except InvalidToken as error:
        log.info("token.refused", reason=error.reason)
        raise invalid_token() from None
    if token.user_id is None:
        raise Problem(problems.USER_REQUIRED)
    return token.user_id, token


def challenge(error: str | None = None) -> dict[str, str]:
    """The ``WWW-Authenticate`` header; without ``error`` where no token was sent (RFC 6750 3)."""
    realm = 'Bearer realm="usersync"'
    return {"WWW-Authenticate": f'{realm}, error="{error}"' if error else realm}
