"""Certificates: the source's signed statements that a replica had the same users, as a chain.

A replica sends the entity tag of its digests (``comparison.entity_tag``). A source that has the
same digests returns a certificate: a JWS (RFC 7515) in compact form, signed like access tokens, but
of another ``typ``, so that no verifier takes one for the other (RFC 8725 3.11). Each certificate
names the one before, and also the last one of the hour before and of the day before. So the chain
still holds when old certificates are thinned to one an hour, and later to one a day.

``proved_microseconds`` is a sum over the whole chain, so the agreement between any two certificates
follows from these two alone, however many between them were deleted.

Guarantees: pure. A source needs no memory of its certificates: ``successor`` follows from the one
before, which the replica presents.

Not here: the keys (``certificate_keys``), storing, thinning and verifying a chain
(``replica.certificates``).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.encodings import base64url_bytes, base64url_text, json_object
from contracts.events.models import Instant
from contracts.sync.comparison import Count
from contracts.sync.digest import DigestKind
from contracts.tokens.key_set import is_kid
from contracts.tokens.keys import ALGORITHM

TYPE: Final = "usersync-proof+jwt"

COVERED_SECONDS_MAX: Final = 120.0
"""Of two certificates that are further apart, the time between counts as not proved. Certificates
come once a minute, so one may fail."""

LENGTH_MAX: Final = 8 * 1024
"""Of a certificate, which has 1.2 KB; a signature of the longest accepted key has another."""

FULL: Final = timedelta(days=1)
"""All certificates of the last day are kept: that is what one looks into after an incident."""

HOURLY: Final = timedelta(days=31)
"""After a day one an hour is kept, for as long as the longest month. After that, one a day is kept
permanently: half a megabyte a year."""

Hash = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{43}$")]
"""A SHA-256 in base64url."""

MICROSECOND: Final = timedelta(microseconds=1)


class Statement(BaseModel):
    """What a certificate says: at ``time``, the replica had the same users as the source."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    consumer: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="the replica's service account"
    )
    source: UUID = Field(description="who the source is: made by its first migration")
    version: int = Field(description="of the digests")
    kind: DigestKind = Field(description="what they cover")
    root: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(
        description="the SHA-256 of the digests of both sides"
    )
    users: Count = Field(description="living users")
    tombstones: Count
    heartbeat: Count = Field(description="the last that the replica had applied, as it says")
    time: Instant = Field(description="the source's clock, just before it read its digests")


class Certificate(Statement):
    """A statement in its place in the chain."""

    number: Annotated[int, Field(ge=1, lt=2**53)] = Field(description="its place in the chain")
    proved_microseconds: Annotated[int, Field(ge=0, lt=2**53)] = Field(
        description="for how long, since the first one, the replica was proved to be equal"
    )
    previous: Hash | None = Field(description="the hash of the one before; null in the first")
    hour: Hash | None = Field(description="of the last one of the hour before")
    day: Hash | None = Field(description="of the last one of the day before")

    def payload(self) -> dict[str, Any]:
        """The claims to sign."""
        return self.model_dump(mode="json")


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate in compact form, with what it says. Its signature may not be valid.

    ``key_id`` is the ``kid`` of the key that is said to have signed it.
    """

    text: str
    key_id: str
    certificate: Certificate

    @property
    def hash(self) -> str:
        """The name of this certificate in those that follow."""
        return hash_of(self.text)

    @classmethod
    def read(cls, text: str) -> Self:
        """Decode a certificate; the signature is not checked (``is_signed_by``).

        Raises:
            ValueError: it is not a certificate in the one accepted encoding.
        """
        if len(text) > LENGTH_MAX or not text.isascii() or text.count(".") != 2:
            raise ValueError("not a JWS in compact form")
        header, payload, signature = map(base64url_bytes, text.split("."))
        names = json_object(header)
        if names.keys() != {"alg", "typ", "kid"} or not signature:
            raise ValueError("the header must hold alg, typ and kid, and nothing else")
        if (names["typ"], names["alg"]) != (TYPE, ALGORITHM) or not is_kid(names["kid"]):
            raise ValueError(f"not of the type {TYPE}")
        try:
            return cls(text, names["kid"], Certificate.model_validate_json(payload))
        except ValidationError:
            raise ValueError("not the claims of a certificate") from None

    def is_signed_by(self, key: RSAPublicKey) -> bool:
        """Whether ``key`` signed it."""
        try:
            jwt.PyJWS(algorithms=[ALGORITHM]).decode(self.text, key, algorithms=[ALGORITHM])
        except jwt.PyJWTError:
            return False
        return True


class CertificateRequest(BaseModel):
    """What a replica sends to ``POST /v1/reconcile/certificates``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: DigestKind = DigestKind.STATE
    digests: Annotated[str, Field(max_length=128)] = Field(
        description="the entity tag of the replica's digests"
    )
    heartbeat: Annotated[int, Field(ge=0, lt=2**53)] = Field(description="the last applied one")
    is_unbroken: bool = Field(
        description="no comparison has found a difference since the previous certificate"
    )
    previous: Annotated[str, Field(max_length=LENGTH_MAX)] | None = Field(
        default=None, description="the replica's last certificate"
    )


class CertificationBody(BaseModel):
    """The certificate; null if the digests differ at this moment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: UUID
    certificate: str | None


def hash_of(text: str) -> str:
    """The SHA-256 of a certificate's compact form, in base64url."""
    return base64url_text(hashlib.sha256(text.encode()).digest())


def hour_of(time: datetime) -> datetime:
    """The beginning of the hour, in UTC."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(time: datetime) -> datetime:
    """The beginning of the day, in UTC."""
    return hour_of(time).replace(hour=0)


def successor(previous: Signed | None, statement: Statement, *, is_unbroken: bool) -> Certificate:
    """Place a statement in the chain.

    Parameters:
        previous: the certificate before; None begins a chain.
        statement: what the source confirms.
        is_unbroken: no comparison has found a difference since then.
    """
    said = dict(statement)
    if previous is None:
        links: Mapping[str, Any] = {"previous": None, "hour": None, "day": None}
        return Certificate(**said, **links, number=1, proved_microseconds=0)
    before = previous.certificate
    since = statement.time - before.time
    is_covered = is_unbroken and timedelta() < since <= timedelta(seconds=COVERED_SECONDS_MAX)
    return Certificate(
        **said,
        number=before.number + 1,
        proved_microseconds=before.proved_microseconds
        + (since // MICROSECOND if is_covered else 0),
        previous=previous.hash,
        hour=_link(previous, statement.time, hour_of, before.hour),
        day=_link(previous, statement.time, day_of, before.day),
    )


def _link(
    previous: Signed, time: datetime, period: Callable[[datetime], datetime], inherited: str | None
) -> str | None:
    """The last certificate of another period: the one before, or the one that that names."""
    is_same = period(previous.certificate.time) == period(time)
    return inherited if is_same else previous.hash
