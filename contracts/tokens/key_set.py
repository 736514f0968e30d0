"""Read a JWK Set (RFC 7517) into public keys that verify RS256 signatures.

Guarantees: a key with another type, algorithm or use is ignored, so that an issuer can add keys for
others (RFC 7517 5). An unsound RS256 key, or a secret of any kind, makes the whole set invalid,
because its publisher makes mistakes. Every fault raises ``InvalidKeySet`` and nothing else. Reading
the largest accepted set takes milliseconds, and so does checking a signature with its keys.

Not here: where a set comes from (``jwks_cache``), writing one (``keys``).
"""

import math
import re
from typing import Any, Final, TypeGuard

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from contracts.encodings import base64url_bytes
from contracts.tokens.keys import ALGORITHM, RSA_BITS_MAX, RSA_BITS_MIN

KEYS_MAX: Final = 32
"""A set has the active key, its successor, and keys whose tokens have not expired."""

KID_LENGTH_MAX: Final = 128
"""Ours are thumbprints of 43 characters."""

KID_PATTERN: Final = r"^[!-~]+$"
"""Printable ASCII without blanks."""

EXPONENT_MIN: Final = 65537
"""NIST SP 800-56B 6.2: below it mistakes in padding become forgeries, and 1 verifies anything."""

EXPONENT_MAX: Final = 2**32 - 1
"""The largest that other implementations accept; a longer one only makes every check slow."""

_NUMBER_LENGTH_MAX: Final = RSA_BITS_MAX // 4
"""The longest base64url text of a number; a longer text is not decoded."""

_KID = re.compile(KID_PATTERN)

_SECRET_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv")
"""Private members of RSA, EC, OKP and AKP keys, and the symmetric key."""

_PUBLIC_OPERATIONS: Final = (["verify"], ["sign", "verify"], ["verify", "sign"])
"""``key_ops`` of a key for signatures: each operation once, and no other."""

_SMALL_PRIMES: Final = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip

_ROCA: Final = [
    (prime, frozenset(pow(EXPONENT_MIN, power, prime) for power in range(prime)))
    for prime in _SMALL_PRIMES
]
"""Moduli of the flawed library (CVE-2017-15361) are powers of 65537 modulo each of these primes.
One in two hundred million sound moduli is too, and another key is made quickly."""


class InvalidKeySet(ValueError):
    """A JWK Set that breaks the rules; the message names the rule."""


def is_kid(value: object) -> TypeGuard[str]:
    """Whether ``value`` may name a key: printable ASCII without blanks, of bounded length."""
    return (
        isinstance(value, str)
        and len(value) <= KID_LENGTH_MAX
        and _KID.fullmatch(value) is not None
    )


def read_key_set(jwks: object) -> dict[str, RSAPublicKey]:
    """Read the keys that verify RS256 signatures, by ``kid``; ignore other keys.

    Raises:
        InvalidKeySet: one of these keys is unsound, two have the same ``kid``, any key of the set
            is private or symmetric, or no key is left.
    """
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list) or not 0 < len(members) <= KEYS_MAX:
        raise InvalidKeySet(f"a key set must have from 1 to {KEYS_MAX} keys")
    keys: dict[str, RSAPublicKey] = {}
    for member in members:
        if not isinstance(member, dict):
            raise InvalidKeySet("a key is not an object")
        _require_public(member)
        if not _verifies(member):
            continue
        key, kid = _public_key(member), member.get("kid")
        if not is_kid(kid):  # no token can name it
            continue
        if kid in keys:
            raise InvalidKeySet("two keys have the same kid")
        keys[kid] = key
    if not keys:
        raise InvalidKeySet(f"no key of the set verifies {ALGORITHM} signatures and has a kid")
    return keys


def _require_public(member: dict[str, Any]) -> None:
    if member.get("kty") == "oct":
        raise InvalidKeySet("a key is symmetric: anybody who can read the set could sign with it")
    if any(name in member for name in _SECRET_MEMBERS):
        raise InvalidKeySet("a key holds private members")


def _verifies(member: dict[str, Any]) -> bool:
    """Whether all members agree that the key is for RS256 signatures (RFC 7517 4.3)."""
    return (
        member.get("kty") == "RSA"
        and member.get("use", "sig") == "sig"
        and member.get("key_ops", ["verify"]) in _PUBLIC_OPERATIONS
        and member.get("alg", ALGORITHM) == ALGORITHM
    )


def _public_key(member: dict[str, Any]) -> RSAPublicKey:
    modulus, exponent = _number(member, "n"), _number(member, "e")
    if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX:
        raise InvalidKeySet(f"a key does not have from {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")
    if not EXPONENT_MIN <= exponent <= EXPONENT_MAX or exponent % 2 == 0:
        raise InvalidKeySet("a key's exponent is even, too small or too large")
    if modulus % 2 == 0 or any(modulus % prime == 0 for prime in _SMALL_PRIMES):
        raise InvalidKeySet("a key's modulus has a small factor")
    if math.isqrt(modulus) ** 2 == modulus:
        raise InvalidKeySet("a key's modulus is a square")
    if all(modulus % prime in powers for prime, powers in _ROCA):
        raise InvalidKeySet("a key's modulus is one of those that can be factored (ROCA)")
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise InvalidKeySet("a key's numbers are not an RSA key") from error


def _number(member: dict[str, Any], name: str) -> int:
    """Read a Base64urlUInt (RFC 7518 2): big-endian, in as few octets as possible."""
    text = member.get(name)
    if not isinstance(text, str) or len(text) > _NUMBER_LENGTH_MAX:
        raise InvalidKeySet("a key's numbers are missing, not text, or too long")
    try:
        octets = base64url_bytes(text)
    except ValueError:
        raise InvalidKeySet("a key's numbers are not base64url") from None
    if octets[0] == 0:
        raise InvalidKeySet("a key's number begins with a zero octet")
    return int.from_bytes(octets, "big")
