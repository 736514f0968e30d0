"""The private halves that this process can use: that of AUTH_PRIVATE_KEY, and the sealed ones.

Guarantees: a private key leaves this process only sealed; what is at hand was parsed once.
"""

from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from auth_service.secrets import WrongSecret
from auth_service.settings import KeySettings
from auth_service.tokens.model import Periods, SigningKey
from contracts.tokens.key_set import EXPONENT_MIN
from contracts.tokens.keys import jwk

_PURPOSE = "signing-key"


def periods(settings: KeySettings) -> Periods:
    """How long keys wait and are held."""
    return Periods(
        wait=timedelta(seconds=settings.key_wait_seconds),
        hold=timedelta(seconds=settings.key_hold_seconds),
    )


class PrivateKeys:
    """Finds the private half of a signing key, and makes new ones."""

    def __init__(self, settings: KeySettings) -> None:
        self._secrets = settings.secrets
        self._has_secret = settings.secret is not None
        self.configured: dict[str, Any] | None = None
        """The public half of AUTH_PRIVATE_KEY as JWK."""
        self.configured_kid: str | None = None
        self._found: dict[str, RSAPrivateKey | None] = {}
        if (key := settings.configured_key) is not None:
            self.configured = jwk(key.public_key())
            self.configured_kid = self.configured["kid"]
            self._found[self.configured["kid"]] = key

    def of(self, key: SigningKey) -> RSAPrivateKey | None:
        """The private half of ``key``; None when it is not here, or sealed for somebody else."""
        if key.kid not in self._found:
            self._found[key.kid] = self._unsealed(key)
        return self._found[key.kid]

    def cannot_unseal(self, key: SigningKey) -> bool:
        """Whether ``key`` is sealed with a secret that this process does not have."""
        return not key.is_configured and self.of(key) is None

    def is_lost(self, key: SigningKey) -> bool:
        """Whether nobody who is configured like this process can sign with ``key``.

        A sealed key that cannot be opened is not lost: AUTH_SECRET is wrong here. Without that
        setting AUTH_PRIVATE_KEY is the secret, and another key there leaves the former's sealed
        ones behind.
        """
        return self.of(key) is None and (key.is_configured or not self._has_secret)

    def generate(self, bits: int) -> tuple[dict[str, Any], bytes]:
        """A new key: its public half as JWK, and its private half sealed."""
        key = rsa.generate_private_key(public_exponent=EXPONENT_MIN, key_size=bits)
        public = jwk(key.public_key())
        plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return public, self._secrets.seal(_PURPOSE, plain, context=public["kid"].encode())

    def _unsealed(self, key: SigningKey) -> RSAPrivateKey | None:
        if key.sealed_private_key is None:
            return None
        try:
            plain = self._secrets.unseal(_PURPOSE, key.sealed_private_key, context=key.kid.encode())
        except WrongSecret:
            return None
        # The seal vouches for it; checking its numbers again takes longer than a hundred requests.
        found = load_der_private_key(plain, password=None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(found, RSAPrivateKey)  # nothing else is sealed for this purpose
        return found
