"""Create the tables of a service that has no migrations yet: its own, and the library's.

Guarantees: one transaction, which can be repeated; two runs take turns. Rows that are there count
in the digests. Roles that exist, such as ``newsletter_consumer``, get the rights of their process
in the library's tables and that of the users, and may change rows of all others; without roles,
everything works with the owner's.

Not here: how a later release changes tables, which takes migrations (docs/add-a-service.md).
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.sync.digest_sql import ROLES_FUNCTION, bucket_sql
from contracts.sync.maintained_digests import FUNCTION
from replica import rights, schema
from replica.digests.install import install_digests
from replica.table import Replica
from service_kit.database.rights import ALL, Rights, give_rights
from service_kit.database.sessions import quoted

_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_KEY: Final = 0x637265617465
""""create" in ASCII: processes that start at once create tables one after the other."""

_OWN: Final = {rights.API: ALL, rights.CONSUMER: ALL}
"""Rights in the tables of the service's own, about which the library knows nothing."""

_SCHEMA: Final = text("SELECT current_schema()")
_HAS_FUNCTION: Final = text("SELECT to_regproc(:name) IS NOT NULL")


async def create_tables(replica: Replica, engine: AsyncEngine) -> None:
    """Create what is missing: tables, the index of buckets, digests, and rights.

    Parameters:
        replica: all tables of its table's metadata are created.
        engine: of the owner of the tables.

    Raises:
        DBAPIError: the database is away or refuses.
    """
    async with engine.begin() as connection:
        await connection.execute(_LOCK, {"key": _LOCK_KEY})
        for metadata in (replica.table.metadata, schema.metadata):
            await connection.run_sync(metadata.create_all)
        index = quoted(f"{replica.table.name}_bucket_idx")
        await connection.execute(
            text(
                f"CREATE INDEX IF NOT EXISTS {index} ON {replica.name} ({bucket_sql(replica.name)})"
            )
        )
        if not await _has(connection, "digest_roles"):
            await connection.execute(text(ROLES_FUNCTION))
        if not await _has(connection, FUNCTION):
            await install_digests(connection, replica)
        own = dict.fromkeys(replica.table.metadata.tables, _OWN)
        tables = {**rights.TABLES, **own, replica.table.name: rights.USERS}
        await give_rights(
            connection,
            Rights(tables, temporary=rights.TEMPORARY),
            prefix=replica.service,
            schema=str(await connection.scalar(_SCHEMA)),
        )


async def _has(connection: AsyncConnection, function: str) -> bool:
    return bool(await connection.scalar(_HAS_FUNCTION, {"name": function}))
