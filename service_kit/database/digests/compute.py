"""Compute the digests of a table of users from its rows."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.digest import Digests
from contracts.sync.digest_sql import computed_sql


async def compute_digests(
    connection: AsyncConnection, table: str, *, has_all_fields: bool = True
) -> Digests:
    """Compute the digests in one statement, so of one snapshot.

    Parameters:
        connection: of the database.
        table: the name of the table of users, as SQL has it.
        has_all_fields: otherwise there are digests of versions only.
    """
    query = text(computed_sql(table, has_all_fields=has_all_fields))
    return Digests(*(await connection.execute(query)).one())
