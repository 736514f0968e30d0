"""Export the public keys that verify certificates: all of them, with their states."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.table import source
from auth_service.settings import KeySettings
from auth_service.tokens.private_keys import periods
from auth_service.tokens.store import read_keys
from contracts.sync.certificate_keys import CertificateKey, CertificateKeys


async def export_keys(engine: AsyncEngine, settings: KeySettings) -> CertificateKeys:
    """Read all keys, including those that left the key set long ago; no private half."""
    async with engine.connect() as connection:
        keys = await read_keys(connection, periods(settings))
        identity = (await connection.execute(select(source.c.identity))).scalar_one()
    return CertificateKeys(
        source=identity,
        keys=[
            CertificateKey.of(
                key.public_jwk,
                state=key.state.value,
                created_at=key.created_at,
                signs_until=keys.leaves_at(key),
                revoked_at=key.revoked_at,
            )
            for key in keys.keys
        ],
    )
