r"""RSA keys: reading them from a setting, and showing the public half as a JWK Set (RFC 7517).

A key may be given as the path of a PEM file, as PEM with real newlines, as the one-line PEM of a
``.env`` file with ``\n`` in it, or as base64 of PEM or DER; also in quotes, since not everything
that reads such a file takes them off. Whatever is wrong raises ``UnusableKey`` with a sentence that
never repeats the value.

Not here: verifying tokens (``tokens``), signing them (``auth_service.tokens``).
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from contracts.encodings import base64url_text

ALGORITHM: Final = "RS256"

RSA_BITS_MIN: Final = 2048
"""NIST SP 800-131A and RFC 7518 3.3: nothing shorter signs a token."""


class UnusableKey(ValueError):
    """The text is no RSA key of at least 2048 bits, in none of the accepted forms."""


def private_key(text: str) -> RSAPrivateKey:
    """The RSA private key in ``text``; raises ``UnusableKey``, for a public key as well."""
    encoded = _encoded(text)
    if b"PUBLIC KEY" in encoded:
        raise UnusableKey("it is a public key; what signs is the private one")
    try:
        load = serialization.load_pem_private_key if _is_pem(encoded) else _load_der_private
        key = load(encoded, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKey("it holds no readable, unencrypted private key") from error
    if not isinstance(key, RSAPrivateKey):
        raise UnusableKey("it is no RSA key")
    _demand_size(key.key_size)
    return key


def public_key(text: str) -> RSAPublicKey:
    """The RSA public key in ``text``; raises ``UnusableKey``, for a private key as well."""
    encoded = _encoded(text)
    if b"PRIVATE KEY" in encoded:
        raise UnusableKey("it is a private key; this service must hold the public key alone")
    try:
        load = serialization.load_pem_public_key if _is_pem(encoded) else _load_der_public
        key = load(encoded)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey("it holds no readable public key") from error
    if not isinstance(key, RSAPublicKey):
        raise UnusableKey("it is no RSA key")
    _demand_size(key.key_size)
    return key


def jwk(key: RSAPublicKey) -> dict[str, Any]:
    """``key`` as a JWK for RS256 signatures; ``kid`` is its RFC 7638 thumbprint."""
    numbers = key.public_numbers()
    required = {"e": _base64url_uint(numbers.e), "kty": "RSA", "n": _base64url_uint(numbers.n)}
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True).encode()
    return {
        **required,
        "kid": base64url_text(hashlib.sha256(canonical).digest()),
        "use": "sig",
        "alg": ALGORITHM,
        "key_ops": ["verify"],
    }


def jwks(*keys: RSAPublicKey) -> dict[str, Any]:
    """A JWK Set of ``keys``, as ``/.well-known/jwks.json`` serves it."""
    return {"keys": [jwk(key) for key in keys]}


def _encoded(text: str) -> bytes:
    text = text.strip().strip("\"'").strip()
    if "-----BEGIN" in text:
        return text.replace("\\r", "").replace("\\n", "\n").encode()
    if _names_a_file(text):
        try:
            return Path(text).expanduser().read_bytes()
        except OSError as error:
            raise UnusableKey(f"the file it names cannot be read ({error.strerror})") from error
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:  # not ASCII, or not base64
        raise UnusableKey("it is no path of a file, no PEM and no base64") from error


def _names_a_file(text: str) -> bool:
    try:
        return "\n" not in text and Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long or odd for a path
        return False


def _is_pem(encoded: bytes) -> bool:
    return b"-----BEGIN" in encoded


def _load_der_private(encoded: bytes, password: None) -> Any:
    return serialization.load_der_private_key(encoded, password=password)


def _load_der_public(encoded: bytes) -> Any:
    return serialization.load_der_public_key(encoded)


def _demand_size(bits: int) -> None:
    if bits < RSA_BITS_MIN:
        raise UnusableKey(f"it has {bits} bits; at least {RSA_BITS_MIN} are needed")


def _base64url_uint(number: int) -> str:
    return base64url_text(number.to_bytes((number.bit_length() + 7) // 8, "big"))
