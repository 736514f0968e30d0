"""The private keys that this process can use: that of AUTH_PRIVATE_KEY, and the stored ones.

Guarantees: a private key leaves this process only encrypted ("sealed"); each is parsed once.
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
    """The waiting and holding periods of keys, from the settings."""
    return Periods(
        wait=timedelta(seconds=settings.key_wait_seconds),
        hold=timedelta(seconds=settings.key_hold_seconds),
    )


class PrivateKeys:
    """Finds the private half of a signing key, and generates new keys."""

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
        """The private half of ``key``; None if it is not here, or sealed with another secret."""
        if key.kid not in self._found:
            self._found[key.kid] = self._unseal(key)
        return self._found[key.kid]

    def cannot_unseal(self, key: SigningKey) -> bool:
        """Whether ``key`` is sealed with a secret that this process does not have."""
        return not key.is_configured and self.of(key) is None

    def is_lost(self, key: SigningKey) -> bool:
        """Whether no process with these settings can sign with ``key``.

        With AUTH_SECRET, a sealed key that cannot be decrypted is not lost: the secret is wrong
        here. Without it AUTH_PRIVATE_KEY is the secret, and a change of that makes the keys sealed
        with its former value unusable.
        """
        return self.of(key) is None and (key.is_configured or not self._has_secret)

    def generate(self, bits: int) -> tuple[dict[str, Any], bytes]:
        """Generate a key; return its public half as JWK and its private half sealed."""
        key = rsa.generate_private_key(public_exponent=EXPONENT_MIN, key_size=bits)
        public = jwk(key.public_key())
        plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return public, self._secrets.seal(_PURPOSE, plain, context=public["kid"].encode())

    def _unseal(self, key: SigningKey) -> RSAPrivateKey | None:
        if key.sealed_private_key is None:
            return None
        try:
            plain = self._secrets.unseal(_PURPOSE, key.sealed_private_key, context=key.kid.encode())
        except WrongSecret:
            return None
        # The seal authenticates it; validating it again takes longer than a hundred requests.
        found = load_der_private_key(plain, password=None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(found, RSAPrivateKey)  # nothing else is sealed for this purpose
        return found
