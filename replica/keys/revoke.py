"""Note that a signing key is revoked. The only code that writes the table.

Guarantees: final, like a deletion; repeating it changes nothing. The caller owns the transaction.
"""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import RevokedKey
from replica.keys.table import revoked_keys


async def revoke(connection: AsyncConnection, key: RevokedKey) -> bool:
    """Refuse the tokens of ``key`` from now on; False when they were refused already."""
    row = insert(revoked_keys).values(kid=key.kid, revoked_at=key.revoked_at)
    return bool((await connection.execute(row.on_conflict_do_nothing())).rowcount)
