"""The keys that sign the tokens of the vectors: known to everybody, so they protect nothing.

They follow from their names, so that no file holds a private key and the vectors can be written
again: RS256 signatures are deterministic.
"""

import hashlib
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
)
from cryptography.hazmat.primitives.hashes import SHA256

from contracts.tokens.key_set import EXPONENT_MIN
from contracts.tokens.keys import jwk

_PRIME_BYTES: Final = 128
_OFFSETS: Final = {"published": (158, 1566), "stranger": (1506, 578)}
"""From the number that follows from a key's name to the next prime, for both primes."""


@cache
def key(name: str) -> RSAPrivateKey:
    """The key ``published``, which the set has, or ``stranger``, which it lacks."""
    p, q = (_prime(f"{name} {part}", k) for part, k in zip("pq", _OFFSETS[name], strict=True))
    d = pow(EXPONENT_MIN, -1, (p - 1) * (q - 1))
    numbers = RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa_crt_dmp1(d, p),
        dmq1=rsa_crt_dmq1(d, q),
        iqmp=rsa_crt_iqmp(p, q),
        public_numbers=RSAPublicNumbers(EXPONENT_MIN, p * q),
    )
    return numbers.private_key()


def public(of: RSAPrivateKey) -> dict[str, Any]:
    """The public key as a JWK; its ``kid`` is its thumbprint."""
    return jwk(of.public_key())


def signature(of: RSAPrivateKey, signed: str) -> bytes:
    """The RS256 signature."""
    return of.sign(signed.encode(), PKCS1v15(), SHA256())


def _prime(name: str, offset: int) -> int:
    octets = hashlib.shake_256(f"usersync conformance {name}".encode()).digest(_PRIME_BYTES)
    # Two leading ones give the product its full length.
    return (int.from_bytes(octets, "big") | (3 << (8 * _PRIME_BYTES - 2)) | 1) + offset
