r"""Read RSA keys from a setting, and write the public half as a JWK Set (RFC 7517).

A key may be the path of a PEM file, PEM with real newlines, the one-line PEM of a ``.env`` file
with ``\n`` (or both, as the command that makes it prints it), or base64 of PEM or DER. Quotes,
blanks and a byte order mark around it are ignored, because not every program removes them. Every
fault raises ``UnusableKey`` with a sentence that never repeats the value.

Not here: verifying tokens (``verifier``), signing them (``auth_service.tokens``).
"""

import base64
import codecs
import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from contracts.encodings import base64url_text

ALGORITHM: Final = "RS256"

RSA_BITS_MIN: Final = 2048
"""NIST SP 800-131A and RFC 7518 3.3: nothing shorter signs a token."""

RSA_BITS_MAX: Final = 8192
"""Checking a signature of this length takes a millisecond. With 64 thousand bits it would take a
second and delay all other requests; checking a private key of 16,384 bits takes a minute."""

KEY_BYTES_MAX: Final = 64 * 1024
"""The largest accepted private key has under 10 KB in any form."""

_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]*KEY)-----(.*?)-----END \1-----", re.DOTALL)

_WRITTEN_BREAK: Final = re.compile(r"\\+[rn]")
"""An escaped line break, escaped once or several times."""

_AROUND: Final = "\"' \t\r\n\v\f\u00a0\ufeff"


class UnusableKey(ValueError):
    """The text is not an RSA key of 2048 to 8192 bits in an accepted form."""


def private_key(text: str) -> RSAPrivateKey:
    """Read an RSA private key; raises ``UnusableKey``, also for a public key."""
    encoded = _encoded(text)
    if b"PUBLIC KEY" in encoded:
        raise UnusableKey("it is a public key; what signs is the private one")
    return _private_key(encoded)


def public_key(text: str) -> RSAPublicKey:
    """Read an RSA public key; raises ``UnusableKey``, also for a private key."""
    encoded = _encoded(text)
    if b"PRIVATE KEY" in encoded:
        raise UnusableKey("it is a private key; this service must hold the public key alone")
    try:
        load = serialization.load_pem_public_key if _is_pem(encoded) else _load_der_public
        key = load(encoded)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey("it holds no readable public key") from error
    if not isinstance(key, RSAPublicKey):
        raise UnusableKey("it is not an RSA key")
    _require_size(key)
    return key


def jwk(key: RSAPublicKey) -> dict[str, Any]:
    """Write ``key`` as a JWK for RS256 signatures; ``kid`` is its RFC 7638 thumbprint."""
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
    """Write ``keys`` as the JWK Set that ``/.well-known/jwks.json`` serves."""
    return {"keys": [jwk(key) for key in keys]}


@lru_cache(maxsize=4)
def _private_key(encoded: bytes) -> RSAPrivateKey:
    """The key; kept, because a start asks for it several times and each check takes long."""
    try:
        # The size first, because the check's time grows with its fourth power.
        _require_size(_load_private(encoded, is_checked=False))
        return _load_private(encoded, is_checked=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if isinstance(error, UnusableKey):
            raise
        raise UnusableKey("it holds no readable, unencrypted private key") from error


def _load_private(encoded: bytes, *, is_checked: bool) -> RSAPrivateKey:
    load = (
        serialization.load_pem_private_key
        if _is_pem(encoded)
        else serialization.load_der_private_key
    )
    key = load(encoded, password=None, unsafe_skip_rsa_key_validation=not is_checked)
    if not isinstance(key, RSAPrivateKey):
        raise UnusableKey("it is not an RSA key")
    return key


def _encoded(text: str) -> bytes:
    """Return the normalized PEM, or the DER, of a setting's text or of the file that it names."""
    text = text.strip(_AROUND)
    if "-----BEGIN" not in text and _names_a_file(text):
        content = _content(Path(text).expanduser())
        try:
            return _from_text(content.decode("utf-8-sig").strip(_AROUND)) or content
        except UnicodeError:
            return content  # DER
    found = _from_text(text)
    if found is None:
        raise UnusableKey("it is not a file's path, not PEM and not base64")
    return found


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(KEY_BYTES_MAX + 1)
    except OSError as error:
        raise UnusableKey(f"the file it names cannot be read ({error.strerror})") from error
    if len(content) > KEY_BYTES_MAX:
        raise UnusableKey(f"the file it names has more than {KEY_BYTES_MAX} bytes")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnusableKey("the file it names is UTF-16; save it as UTF-8")
    return content


def _from_text(text: str) -> bytes | None:
    """Return the PEM, or decode base64; None if ``text`` is neither."""
    if "-----BEGIN" in text:
        return _proper_pem(text)
    try:
        octets = base64.b64decode("".join(_WRITTEN_BREAK.sub("", text).split()), validate=True)
    except ValueError:  # not ASCII, or not base64
        return None
    return _proper_pem(octets.decode(errors="replace")) if _is_pem(octets) else octets


def _proper_pem(text: str) -> bytes:
    """Rewrite the keys in ``text`` with lines of 64 characters and nothing around them."""
    text = _WRITTEN_BREAK.sub("\n", text)
    found = _PEM.findall(text)
    if not found or any(":" in body for _, body in found):  # cut off, or encrypted the old way
        return text.encode(errors="replace")
    lines = []
    for kind, body in found:
        text = "".join(body.split())
        lines += [f"-----BEGIN {kind}-----", *wrap(text, 64), f"-----END {kind}-----", ""]
    return "\n".join(lines).encode(errors="replace")


def _names_a_file(text: str) -> bool:
    try:
        return "\n" not in text and Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long or odd for a path
        return False


def _is_pem(encoded: bytes) -> bool:
    return b"-----BEGIN" in encoded


def _load_der_public(encoded: bytes) -> Any:
    return serialization.load_der_public_key(encoded)


def _require_size(key: RSAPrivateKey | RSAPublicKey) -> None:
    if key.key_size < RSA_BITS_MIN:
        raise UnusableKey(f"it has {key.key_size} bits; at least {RSA_BITS_MIN} are needed")
    if key.key_size > RSA_BITS_MAX:
        raise UnusableKey(f"it has {key.key_size} bits; at most {RSA_BITS_MAX} are accepted")


def _base64url_uint(number: int) -> str:
    return base64url_text(number.to_bytes((number.bit_length() + 7) // 8, "big"))
