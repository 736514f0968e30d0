"""Read the bearer token of a request; respond to a missing or bad one (RFC 6750).

A token comes in the ``Authorization`` header alone, never in the address, which ends up in logs.
"""

from typing import Final
from uuid import UUID

import structlog
from starlette.datastructures import Headers

from contracts.tokens import AccessToken, InvalidToken, KeysUnavailable, Verifier
from service_kit.http import problems
from service_kit.http.problems import Problem
from service_kit.http.product import PRODUCT

log = structlog.get_logger()

KEYS_RETRY_SECONDS: Final = "10"
"""When to retry while there are no keys: they are fetched about that often."""


def token_of(headers: Headers) -> str:
    """Return the token of the request.

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


ON_BEHALF_OF: Final = "On-Behalf-Of"
"""The header in which a service shows the access token of the user it acts for, as
``Bearer TOKEN``. It is proof, not a name: the receiver verifies it like the user's own request."""


def on_behalf_of(token: str) -> dict[str, str]:
    """Make the header by which a service acts on behalf of the user with this access token."""
    return {ON_BEHALF_OF: f"Bearer {token}"}


async def subject_token(headers: Headers, verifier: Verifier) -> AccessToken | None:
    """Return the valid token of the user on whose behalf a service calls; None without one.

    Raises:
        Problem: 400 for a token that is not accepted, a service's, or two of them; 503
            without keys to verify with.
    """
    sent = headers.getlist(ON_BEHALF_OF)
    if not sent:
        return None
    scheme, _, text = sent[0].partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer":
        raise Problem(problems.INVALID_SUBJECT_TOKEN)
    try:
        token = await verifier.verify(text.strip())
    except InvalidToken as error:
        log.info("subject_token.refused", reason=error.reason)
        raise Problem(problems.INVALID_SUBJECT_TOKEN) from None
    except KeysUnavailable:
        log.warning("token.no_keys")
        raise Problem(problems.UNAVAILABLE, headers={"Retry-After": KEYS_RETRY_SECONDS}) from None
    if token.user_id is None:
        raise Problem(problems.INVALID_SUBJECT_TOKEN)
    return token


def invalid_token() -> Problem:
    """The same problem for every token that is not accepted, whichever check failed."""
    return Problem(problems.INVALID_TOKEN, headers=challenge("invalid_token"))


async def verified_token(headers: Headers, verifier: Verifier) -> AccessToken:
    """Return the valid token of a request, a user's or a service's.

    The request's later log lines name the user.

    Raises:
        Problem: 401 without a valid token, 503 without keys to verify with.
    """
    try:
        token = await verifier.verify(token_of(headers))
    except InvalidToken as error:
        log.info("token.refused", reason=error.reason)
        raise invalid_token() from None
    except KeysUnavailable:
        log.warning("token.no_keys")
        raise Problem(problems.UNAVAILABLE, headers={"Retry-After": KEYS_RETRY_SECONDS}) from None
    if token.user_id is not None:
        structlog.contextvars.bind_contextvars(user_id=str(token.user_id))
    return token


async def users_token(headers: Headers, verifier: Verifier) -> tuple[UUID, AccessToken]:
    """Return the user that a request's token names, and the token.

    Raises:
        Problem: 401 without a valid token, 403 for a service's, 503 without keys.
    """
    token = await verified_token(headers, verifier)
    if token.user_id is None:
        raise Problem(problems.USER_REQUIRED)
    return token.user_id, token


def require_scope(token: AccessToken, scope: str) -> None:
    """Refuse a token that was not issued for ``scope``, a user's included (RFC 6750 3.1).

    Raises:
        Problem: 403, with the scope that is needed.
    """
    if scope not in token.scopes:
        raise insufficient_scope(scope)


def insufficient_scope(scope: str) -> Problem:
    """The problem of a token that was not issued for ``scope``."""
    challenged = challenge("insufficient_scope")
    challenged["WWW-Authenticate"] += f', scope="{scope}"'
    return Problem(problems.INSUFFICIENT_SCOPE, headers=challenged)


def challenge(error: str | None = None) -> dict[str, str]:
    """Make the ``WWW-Authenticate`` header; without ``error`` if no token was sent (RFC 6750 3)."""
    realm = f'Bearer realm="{PRODUCT}"'
    return {"WWW-Authenticate": f'{realm}, error="{error}"' if error else realm}
