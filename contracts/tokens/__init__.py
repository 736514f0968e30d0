"""Access tokens: the verifier, the keys that sign, and the sets that publish them.

Verifying needs cryptography and no other distribution; a test checks that.
"""

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
