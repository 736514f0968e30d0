"""The bearer token of a request, and the answers to a missing or bad one (RFC 6750).

A token comes in the ``Authorization`` header alone, never in the address, which ends up in logs.
"""

from starlette.datastructures import Headers

from contracts import problems
from contracts.problems import Problem

_CHALLENGE = 'Bearer realm="usersync"'


def token_of(headers: Headers) -> str:
    """The token that came with the request.

    Raises:
        Problem: 401 without an error code when there is none (RFC 6750 3.1), 400 when there are
            two ``Authorization`` headers.
    """
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise Problem(problems.TWO_CREDENTIALS, headers=_challenge("invalid_request"))
    scheme, _, token = sent[0].partition(" ") if sent else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Problem(problems.AUTHENTICATION_REQUIRED, headers={"WWW-Authenticate": _CHALLENGE})
    return token.strip()


def invalid_token() -> Problem:
    """The one answer to every token that is not accepted; which check failed stays untold."""
    return Problem(problems.INVALID_TOKEN, headers=_challenge("invalid_token"))


def _challenge(error: str) -> dict[str, str]:
    return {"WWW-Authenticate": f'{_CHALLENGE}, error="{error}"'}
