"""A source that signs certificates at any time, as a test likes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import rsa

from auth_service.tokens.sign import TokenSigner
from contracts.sync.certificate import Signed, Statement, successor
from contracts.sync.certificate_keys import CertificateKey, CertificateKeys
from contracts.sync.digest import DigestKind
from contracts.tokens.keys import jwk
from replica.certificates.verify import Stored
from tests.support.builders import NOON

SOURCE = UUID(int=1)
CONSUMER = "svc_blog"
BEFORE = NOON - timedelta(days=400)
"""When keys were made."""


@cache
def a_key(_number: int = 0) -> rsa.RSAPrivateKey:
    """Return one of several keys, of the smallest size that is accepted, for speed."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def a_signer(key: rsa.RSAPrivateKey) -> TokenSigner:
    """Return a signer as the auth API has it."""
    return TokenSigner(
        key, issuer="https://auth.example", audience="blog", user_seconds=300, service_seconds=300
    )


def kid_of(key: rsa.RSAPrivateKey) -> str:
    return str(jwk(key.public_key())["kid"])


def keys_of(*keys: rsa.RSAPrivateKey, **state: Any) -> CertificateKeys:
    """Return the export of some keys, all in the same state: active since long ago."""
    of = {"state": "active", "created_at": BEFORE} | state
    each = [CertificateKey.of(jwk(key.public_key()), **of) for key in keys]
    return CertificateKeys(source=SOURCE, keys=each)


@dataclass
class Issuer:
    """Issues one certificate after another, each following the one before."""

    at: datetime = NOON
    key: rsa.RSAPrivateKey = field(default_factory=a_key)
    last: Signed | None = None

    def issue(self, after: float = 60.0, *, is_unbroken: bool = True, **said: Any) -> Signed:
        """Issue the next certificate, ``after`` so many seconds."""
        self.at += timedelta(seconds=after)
        statement = Statement.model_validate(
            {
                "consumer": CONSUMER,
                "source": SOURCE,
                "version": 2,
                "kind": DigestKind.STATE,
                "root": "0" * 64,
                "users": 7,
                "tombstones": 1,
                "heartbeat": 3,
                "time": self.at,
            }
            | said
        )
        claims = successor(self.last, statement, is_unbroken=is_unbroken)
        self.last = Signed.read(a_signer(self.key).certificate(claims))
        return self.last

    def chain(self, count: int) -> list[Signed]:
        return [self.issue() for _ in range(count)]


def stored(signed: Sequence[Signed]) -> list[Stored]:
    """Return certificates as they are read from a file."""
    return [Stored(each.text) for each in signed]
