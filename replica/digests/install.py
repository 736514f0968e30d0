"""Install the triggers that maintain the digests of a replica's table.

Once per table, after the tables of ``replica.schema``; a service with migrations does it in one.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.sync.maintained_digests import correction_sql, installation
from replica.table import Replica


async def install_digests(connection: AsyncConnection, replica: Replica) -> None:
    """Create the triggers, and count the rows that are there. The caller owns the transaction."""
    for statement in [*installation(*replica.digested), correction_sql(*replica.digested)]:
        await connection.execute(text(statement))
