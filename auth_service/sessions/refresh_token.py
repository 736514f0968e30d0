"""Make and read refresh tokens: a session's id and a counter, authenticated. Pure.

``rt_`` and base64url of the session's id (16 bytes), a counter (4) and their HMAC-SHA256 (32).
No part of it is stored, so reading the database does not help to make one. The successor of a token
can be computed again, identically, for a refresh whose response was lost.

Guarantees: a token has one spelling; a token that was not made with a known secret is refused.
"""

from typing import Final
from uuid import UUID

from auth_service.secrets import Secrets
from contracts.encodings import base64url_bytes, base64url_text

REFRESH_TOKEN_PREFIX: Final = "rt_"  # noqa: S105 - a prefix, no secret
"""Identifies the token to people and secret scanners that find one."""

REFRESH_TOKEN_LENGTH: Final = 73
"""Of the prefix and 52 bytes in base64url."""

_PURPOSE: Final = "refresh-token"
_ID_BYTES: Final = 16
_COUNTER_BYTES: Final = 4


class InvalidGrant(Exception):
    """The refresh token is invalid (RFC 6749 5.2); its bearer is not told why."""


def make_refresh_token(secrets: Secrets, session_id: UUID, counter: int) -> str:
    """Make a session's refresh token; ``counter`` is how often it was refreshed before."""
    signed = session_id.bytes + counter.to_bytes(_COUNTER_BYTES, "big")
    return REFRESH_TOKEN_PREFIX + base64url_text(signed + secrets.mac(_PURPOSE, signed))


def read_refresh_token(secrets: Secrets, token: str) -> tuple[UUID, int]:
    """Read the session's id and the counter from a token.

    Tokens made with the previous secret are accepted. The time it takes does not show how much of a
    forged token is right.

    Raises:
        InvalidGrant: the token was not made by this service.
    """
    if len(token) != REFRESH_TOKEN_LENGTH or not token.startswith(REFRESH_TOKEN_PREFIX):
        raise InvalidGrant
    try:
        decoded = base64url_bytes(token.removeprefix(REFRESH_TOKEN_PREFIX))
    except ValueError:
        raise InvalidGrant from None
    signed, mac = decoded[: _ID_BYTES + _COUNTER_BYTES], decoded[_ID_BYTES + _COUNTER_BYTES :]
    if not secrets.is_mac(_PURPOSE, signed, mac):
        raise InvalidGrant
    return UUID(bytes=signed[:_ID_BYTES]), int.from_bytes(signed[_ID_BYTES:], "big")
