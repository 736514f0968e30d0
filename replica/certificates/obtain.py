"""Ask the source for a certificate, after a proof that found no difference.

Guarantees: one is asked for once a minute, by the consumer that makes the proofs. This side's
digests are read before the source reads its own, so it never confirms what did not hold. A
certificate is stored only if it says what was asked and names the last one that is stored. Failures
change nothing: the next heartbeat tries again.

Under traffic the roots differ for moments, so a few are tried. Above some hundred changes a second
hardly any of them is equal; that time counts as not proved, although proofs, which compare bucket
by bucket, find no difference.
"""

import asyncio
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.certificate import CertificateRequest, Signed
from contracts.sync.comparison import entity_tag
from contracts.sync.digest import DigestKind, Digests
from replica.certificates.store import append, has_differed, newest
from replica.reconcile.model import CouldNotCompare
from replica.reconcile.source import Source
from replica.reconcile.staging import replica_digests
from replica.settings import ConsumerSettings
from replica.table import Replica

log = structlog.get_logger()

PAUSES_SECONDS: Final = (0.0, 0.02, 0.05, 0.1)
"""Before each look. An event takes some milliseconds from the source."""


class Certifier:
    """Asks for certificates, and remembers what it told the log."""

    def __init__(self, replica: Replica, settings: ConsumerSettings, source: Source) -> None:
        self._settings = settings
        self._source = source
        self._kind = DigestKind.STATE if replica.has_all_fields else DigestKind.VERSIONS
        self._trouble: str | None = None

    async def certify(self, connection: AsyncConnection, *, follows: UUID, heartbeat: int) -> None:
        """Have the source certify that the digests are equal, if that is due.

        Parameters:
            connection: of the replica's database, outside any transaction.
            follows: the source that this replica follows.
            heartbeat: the last one that was applied.
        """
        try:
            await self._certify(connection, follows, heartbeat)
            self._trouble = None
        except CouldNotCompare as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("proof.not_certified", explanation=self._trouble)

    async def _certify(self, connection: AsyncConnection, follows: UUID, heartbeat: int) -> None:
        every = self._settings.certificate_seconds
        async with connection.begin():
            try:
                last = await newest(connection)
            except ValueError:
                last = None  # a new chain begins; ``proofs verify`` names the row
            if every == 0 or (last is not None and 0 <= last.age_seconds < every):
                return
            differed = last is not None and await has_differed(connection, last.stored_at)
        previous = None if last is None else last.signed
        for pause in PAUSES_SECONDS:
            await asyncio.sleep(pause)
            ours = await replica_digests(connection, self._kind)
            asked = CertificateRequest(
                of=self._kind,
                digests=entity_tag(follows, self._kind, ours),
                heartbeat=heartbeat,
                is_unbroken=not differed,
                previous=None if previous is None else previous.text,
            )
            text = (await self._source.certificate(asked)).certificate
            if text is not None:
                signed = self._as_agreed(text, asked, ours, previous, follows)
                async with connection.begin():
                    await append(connection, signed, before=previous)
                return

    def _as_agreed(
        self,
        text: str,
        asked: CertificateRequest,
        ours: Digests,
        previous: Signed | None,
        follows: UUID,
    ) -> Signed:
        """Read a certificate; ``verify`` checks its signature."""
        try:
            signed = Signed.read(text)
        except ValueError as error:
            raise CouldNotCompare(f"the source's certificate is not as agreed: {error}") from None
        said = signed.certificate
        expected = (self._settings.service_id, follows, self._kind, ours.root_of(self._kind))
        if (said.consumer, said.source, said.kind, said.root) != expected:
            raise CouldNotCompare("the source's certificate is about something else")
        if said.heartbeat != asked.heartbeat:
            raise CouldNotCompare("the source's certificate is about another heartbeat")
        if previous is not None and said.previous is None:
            log.warning("proof.chain_restarted", number=previous.certificate.number)
        elif said.previous != (None if previous is None else previous.hash):
            raise CouldNotCompare("the source's certificate does not follow the last one here")
        return signed
