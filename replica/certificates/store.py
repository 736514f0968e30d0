"""Store certificates, thin them, and read them. The only code that writes ``proofs``.

Guarantees: certificates are only ever added and thinned. Thinning is part of the transaction that
adds the first certificate of an hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.certificate import Signed, hour_of
from replica.certificates.agreement import WINDOWS, Mark
from replica.certificates.table import proofs
from replica.certificates.thin import Place, superfluous
from replica.certificates.verify import Stored
from replica.keys.table import revoked_keys

_NEWEST: Final = select(proofs).order_by(proofs.c.id.desc())

_DIFFERED: Final = text(
    """
    SELECT EXISTS (SELECT 1 FROM reconcile_runs
                   WHERE finished_at > :since AND differing::text NOT IN ('{}', 'null'))
    """
)

# With the last one before the longest window, which says what was proved at its beginning.
_MARKS: Final = text(
    """
    SELECT number, time, proved_microseconds,
           NOT EXISTS (SELECT 1 FROM revoked_keys WHERE kid = key_id) AS counts
    FROM proofs
    WHERE id >= coalesce((SELECT max(id) FROM proofs WHERE time <= :begin), 0)
    ORDER BY id
    """
)


@dataclass(frozen=True, slots=True)
class Newest:
    """The certificate that was stored last, and its age in seconds by the replica's clock."""

    signed: Signed
    stored_at: datetime
    age_seconds: float


async def newest(connection: AsyncConnection) -> Newest | None:
    """Read the certificate that was stored last.

    Raises:
        ValueError: it cannot be read: another program changed the row.
    """
    age = func.extract("epoch", func.clock_timestamp() - proofs.c.stored_at).label("age")
    row = (await connection.execute(_NEWEST.add_columns(age).limit(1))).one_or_none()
    if row is None:
        return None
    return Newest(Signed.read(row.certificate), row.stored_at, float(row.age))


async def has_differed(connection: AsyncConnection, since: datetime) -> bool:
    """Whether a comparison or proof has found users who differ since a time of the replica."""
    found: bool = (await connection.execute(_DIFFERED, {"since": since})).scalar_one()
    return found


async def append(connection: AsyncConnection, signed: Signed, *, before: Signed | None) -> None:
    """Store a certificate; the caller owns the transaction.

    Parameters:
        connection: to write with.
        signed: the certificate.
        before: the one that was stored last.
    """
    said = signed.certificate
    await connection.execute(
        insert(proofs).values(
            number=said.number,
            time=said.time,
            proved_microseconds=said.proved_microseconds,
            key_id=signed.key_id,
            hash=signed.hash,
            certificate=signed.text,
        )
    )
    if before is not None and hour_of(before.certificate.time) != hour_of(said.time):
        await _thin(connection)


async def _thin(connection: AsyncConnection) -> None:
    rows = await connection.execute(
        select(proofs.c.id, proofs.c.number, proofs.c.time).order_by(proofs.c.id)
    )
    old = superfluous([Place(row.id, row.number, row.time) for row in rows])
    if old:
        await connection.execute(delete(proofs).where(proofs.c.id.in_(old)))


async def marks(connection: AsyncConnection) -> tuple[list[Mark], datetime]:
    """Read what the agreement of each window is computed from, and the clock of the database."""
    now = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    begin = now - max(WINDOWS.values())
    rows = await connection.execute(_MARKS, {"begin": begin})
    return [Mark(*row) for row in rows], now


async def page(
    connection: AsyncConnection, *, limit: int, before: int | None = None
) -> Sequence[Row[Any]]:
    """Read at most ``limit`` rows, the newest first, of those with ids below ``before``."""
    query = _NEWEST.limit(limit)
    if before is not None:
        query = query.where(proofs.c.id < before)
    return (await connection.execute(query)).all()


async def between(
    connection: AsyncConnection, since: datetime | None, until: datetime | None
) -> Sequence[Row[Any]]:
    """Read all rows of a stretch of time, the oldest first."""
    query = select(proofs).order_by(proofs.c.id)
    if since is not None:
        query = query.where(proofs.c.time >= since)
    if until is not None:
        query = query.where(proofs.c.time < until)
    return (await connection.execute(query)).all()


async def all_stored(connection: AsyncConnection) -> tuple[list[Stored], set[str]]:
    """Read all certificates, the oldest first, and the ids of keys that are known as revoked."""
    rows = await between(connection, None, None)
    stored = [
        Stored(row.certificate, (row.number, row.time, row.proved_microseconds)) for row in rows
    ]
    revoked = (await connection.execute(select(revoked_keys.c.kid))).scalars()
    return stored, set(revoked)
