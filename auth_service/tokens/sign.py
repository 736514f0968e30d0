"""Sign access tokens (RFC 9068, RS256), and certificates with the same key.

Guarantees: ``iat`` is never before the user's ``tokens_valid_after``, so that the token of a
sign-in right after a revocation is not refused with the revoked ones. A token holds no e-mail
address.

Not here: verifying (``contracts.tokens``).
"""

import time
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from auth_service.users.model import User
from contracts.sync import certificate
from contracts.sync.certificate import Certificate
from contracts.tokens import TOKEN_TYPE
from contracts.tokens.keys import ALGORITHM, jwk

FIRST_PARTY_CLIENT = "first_party"
"""``client_id`` of tokens that a user got from this service's own sign-up and sign-in."""


class TokenSigner:
    """Signs with one RSA key, parsed once: parsing it for each token costs a hundred times more.

    Parameters:
        user_seconds: the lifetime of a user's token.
        service_seconds: the lifetime of a service's.
    """

    def __init__(
        self,
        key: RSAPrivateKey,
        *,
        issuer: str,
        audience: str,
        user_seconds: int,
        service_seconds: int,
    ) -> None:
        self._key = key
        self._header = {"typ": TOKEN_TYPE, "kid": jwk(key.public_key())["kid"]}
        self._common = {"iss": issuer, "aud": audience}
        self.user_seconds = user_seconds
        self.service_seconds = service_seconds

    def for_user(
        self, user: User, session_id: UUID, *, at: datetime, authenticated_at: datetime
    ) -> str:
        """Sign an access token for ``user`` in one of their sessions, in compact form.

        Parameters:
            at: when the user was last known to be entitled to a token, by the source's clock, under
                a lock that revocations take as well. The time of signing would be wrong: a token
                revoked in between would survive at services that know no sessions.
            authenticated_at: when the password was last given in the session, by the same clock.
        """
        valid_after = user.tokens_valid_after
        issued_at = max(int(at.timestamp()), int(valid_after.timestamp()) if valid_after else 0)
        return self._signed(
            issued_at,
            self.user_seconds,
            sub=str(user.id),
            client_id=FIRST_PARTY_CLIENT,
            sid=str(session_id),
            auth_time=_known_time(authenticated_at, issued_at),
            roles=list(user.roles),
            user_version=user.version,
        )

    def for_service(
        self, service_id: str, scopes: Collection[str], *, at: datetime | None = None
    ) -> str:
        """Sign an access token for a service, limited to ``scopes``.

        Parameters:
            at: when the service was last known to be entitled to a token, as for a user; None: now.
        """
        return self._signed(
            int(time.time() if at is None else at.timestamp()),
            self.service_seconds,
            sub=service_id,
            client_id=service_id,
            scope=" ".join(sorted(scopes)),
        )

    def certificate(self, claims: Certificate) -> str:
        """Sign a certificate, in compact form; no verifier of tokens accepts its type."""
        return jwt.encode(
            claims.payload(),
            self._key,
            algorithm=ALGORITHM,
            headers={**self._header, "typ": certificate.TYPE},
        )

    def _signed(self, issued_at: int, seconds: int, **claims: Any) -> str:
        common = {"iat": issued_at, "exp": issued_at + seconds, "jti": str(uuid4())}
        return jwt.encode(
            {**self._common, **common, **claims},
            self._key,
            algorithm=ALGORITHM,
            headers=self._header,
        )


def _known_time(at: datetime, issued_at: int) -> int:
    """The claim ``auth_time``: a time ahead of the clock, which was set back, counts as long ago.

    Verifiers would refuse a token from the future, and nobody knows how old the time really is.
    """
    seconds = int(at.timestamp())
    return seconds if seconds <= issued_at else 0
