"""Certify that a replica's digests equal the source's (``contracts.sync.certificate``).

Guarantees: nothing is certified unless the digests of this moment are equal. A certificate follows
only one that this source signed, for the same replica, with a key that was not revoked; after any
other the chain begins again. The source stores nothing, but logs the hash of each certificate: that
is the second witness for how far a chain reached.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.reconcile.digests import maintained_digests
from contracts.sync.certificate import (
    Certificate,
    CertificateRequest,
    CertificationBody,
    Signed,
    Statement,
    hash_of,
    successor,
)
from contracts.sync.comparison import entity_tag
from contracts.sync.digest import VERSION

log = structlog.get_logger()


class Signer(Protocol):
    """Signs certificates with one key."""

    def certificate(self, claims: Certificate) -> str:
        """Sign a certificate, in compact form."""


class Keys(Protocol):
    """The keys of this source."""

    async def signer(self) -> Signer:
        """The signer of the active key."""

    async def certificate_key(self, kid: str) -> RSAPublicKey | None:
        """The public key with this id, unless it was revoked."""


async def certify(
    engine: AsyncEngine, keys: Keys, consumer: str, asked: CertificateRequest
) -> CertificationBody:
    """Certify that the replica of ``consumer`` has the same digests at this moment.

    Raises:
        Problem: 503 if the database is a standby, which may lag.
    """
    found = await maintained_digests(engine, asked.of)
    if entity_tag(found.source, asked.of, found.digests) != asked.digests:
        return CertificationBody(source=found.source, certificate=None)
    statement = Statement(
        consumer=consumer,
        source=found.source,
        version=VERSION,
        kind=asked.of,
        root=found.digests.root_of(asked.of),
        users=found.digests.users,
        tombstones=found.digests.tombstones,
        heartbeat=asked.heartbeat,
        time=found.taken_at,
    )
    previous = await _accepted(asked.previous, keys.certificate_key, consumer, found.source)
    claims = successor(previous, statement, is_unbroken=asked.is_unbroken)
    certificate = (await keys.signer()).certificate(claims)
    log.info(
        "certificate.issued", consumer=consumer, number=claims.number, sha256=hash_of(certificate)
    )
    return CertificationBody(source=found.source, certificate=certificate)


async def _accepted(
    text: str | None,
    key_of: Callable[[str], Awaitable[RSAPublicKey | None]],
    consumer: str,
    source: UUID,
) -> Signed | None:
    """Return the previous certificate if this source signed it for this replica."""
    if text is None:
        return None
    try:
        previous = Signed.read(text)
    except ValueError:
        return None
    said = previous.certificate
    if (said.consumer, said.source) != (consumer, source):
        return None
    key = await key_of(previous.key_id)
    return previous if key is not None and previous.is_signed_by(key) else None
