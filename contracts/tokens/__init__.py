"""Access tokens: the keys that sign them, the sets that publish those, and the verifier."""

from contracts.tokens.key_set import InvalidKeySet
from contracts.tokens.verifier import (
    LEEWAY_SECONDS,
    SERVICE_PREFIX,
    TOKEN_TYPE,
    AccessToken,
    FixedKeys,
    InvalidToken,
    KeysUnavailable,
    TokenVerifier,
    UnknownKey,
    Verifier,
)

__all__ = [
    "LEEWAY_SECONDS",
    "SERVICE_PREFIX",
    "TOKEN_TYPE",
    "AccessToken",
    "FixedKeys",
    "InvalidKeySet",
    "InvalidToken",
    "KeysUnavailable",
    "TokenVerifier",
    "UnknownKey",
    "Verifier",
]
