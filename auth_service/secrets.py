"""Derive a key for each purpose from one secret (HKDF, RFC 5869); authenticate and encrypt.

Guarantees: a key for one purpose reveals nothing about another's. What was encrypted or hashed with
the previous secret stays readable, so that the secret can be changed. The stored form names its
secret by an id that reveals nothing.
"""

import hmac
import os
from collections.abc import Iterator
from functools import cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""AES-GCM's own size (NIST SP 800-38D)."""

_ID_BYTES: Final = 4


class WrongSecret(Exception):
    """Encrypted with a secret that is neither the present nor a previous one."""


def secret_from_key(key: RSAPrivateKey) -> bytes:
    """Use a private key as the secret, if no other is configured."""
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Secrets:
    """Keys derived from the present secret and from previous ones, the present one first."""

    def __init__(self, *secrets: bytes) -> None:
        self._versions = [_Version(secret) for secret in secrets]

    def mac(self, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA256 of ``message`` with the present secret's key for ``purpose``."""
        return self._versions[0].mac(purpose, message)

    def macs(self, purpose: str, message: bytes) -> Iterator[bytes]:
        """The same with each known secret, the present one first."""
        return (version.mac(purpose, message) for version in self._versions)

    def is_mac(self, purpose: str, message: bytes, candidate: bytes) -> bool:
        """Whether ``candidate`` is a MAC of ``message`` by any known secret, in constant time."""
        matches = [hmac.compare_digest(candidate, own) for own in self.macs(purpose, message)]
        return any(matches)

    def seal(self, purpose: str, plain: bytes, *, context: bytes) -> bytes:
        """Encrypt ``plain`` with AES-256-GCM, bound to ``context``."""
        version, nonce = self._versions[0], os.urandom(NONCE_BYTES)
        return version.id + nonce + AESGCM(version.key(purpose)).encrypt(nonce, plain, context)

    def unseal(self, purpose: str, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt what ``seal`` returned; raises ``WrongSecret``."""
        nonce = sealed[_ID_BYTES : _ID_BYTES + NONCE_BYTES]
        for version in self._versions:
            if sealed.startswith(version.id):
                try:
                    hidden = sealed[_ID_BYTES + NONCE_BYTES :]
                    return AESGCM(version.key(purpose)).decrypt(nonce, hidden, context)
                except InvalidTag:
                    break
        raise WrongSecret


class _Version:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.key = cache(self._derived)
        self.id = self.key("id")[:_ID_BYTES]

    def mac(self, purpose: str, message: bytes) -> bytes:
        return hmac.digest(self.key(purpose), message, "sha256")

    def _derived(self, purpose: str) -> bytes:
        info = f"usersync/{purpose}".encode()
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(self._secret)
