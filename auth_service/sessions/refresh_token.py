"""What a refresh token says, and proof that this service said it. Pure.

``rt_`` and base64url of the session's id (16 bytes), a counter (4) and their HMAC-SHA256 (32).
Nothing of it is stored: whoever reads the database can make none, and the successor of a token can
be made again, the same to the letter, for a refresh whose answer was lost.

Guarantees: a token has one spelling; none is read that was not made with a known secret.
"""

from typing import Final
from uuid import UUID

from auth_service.secrets import Secrets
from contracts.encodings import base64url_bytes, base64url_text

REFRESH_TOKEN_PREFIX: Final = "rt_"  # noqa: S105 - a prefix, no secret
"""Tells people and secret scanners what it is that they have found."""

REFRESH_TOKEN_LENGTH: Final = 73
"""Of the prefix and 52 bytes in base64url."""

_PURPOSE: Final = "refresh-token"
_ID_BYTES: Final = 16
_COUNTER_BYTES: Final = 4


class InvalidGrant(Exception):
    """The refresh token is good for nothing (RFC 6749 5.2); why, its bearer is not told."""


def make_refresh_token(secrets: Secrets, session_id: UUID, counter: int) -> str:
    """The refresh token of a session; ``counter`` tells how often it was refreshed before."""
    signed = session_id.bytes + counter.to_bytes(_COUNTER_BYTES, "big")
    return REFRESH_TOKEN_PREFIX + base64url_text(signed + secrets.mac(_PURPOSE, signed))


def read_refresh_token(secrets: Secrets, token: str) -> tuple[UUID, int]:
    """The session and the counter that ``make`` was given.

    A token made with the previous secret is read too. The time it takes tells nothing about how
    much of a wrong one was right.

    Raises:
        InvalidGrant: it was not made here.
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
