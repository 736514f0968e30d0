"""Sign access tokens (RFC 9068, RS256).

Guarantees: ``iat`` is never before the user's ``tokens_valid_after``, so that the token of a
sign-in right after a revocation is not refused with the revoked ones; no e-mail address inside.

Not here: verifying (``contracts.tokens``).
"""

import time
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from auth_service.users.model import User
from contracts.keys import jwk
from contracts.tokens import ALGORITHM, TOKEN_TYPE

FIRST_PARTY_CLIENT = "first_party"
"""``client_id`` of tokens that a user got from this service's own sign-up and sign-in."""


class TokenSigner:
    """Signs with one RSA key, parsed once: parsing for each token costs a hundredfold."""

    def __init__(
        self, key: RSAPrivateKey, *, issuer: str, audience: str, lifetime_seconds: int
    ) -> None:
        self._key = key
        self._header = {"typ": TOKEN_TYPE, "kid": jwk(key.public_key())["kid"]}
        self._issuer = issuer
        self._audience = audience
        self.lifetime_seconds = lifetime_seconds

    def sign(self, user: User) -> str:
        """An access token for ``user``, in compact form."""
        valid_after = user.tokens_valid_after
        issued_at = max(int(time.time()), int(valid_after.timestamp()) if valid_after else 0)
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user.id),
            "client_id": FIRST_PARTY_CLIENT,
            "iat": issued_at,
            "exp": issued_at + self.lifetime_seconds,
            "jti": str(uuid4()),
            "roles": list(user.roles),
            "user_version": user.version,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers=self._header)
