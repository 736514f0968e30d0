"""Run Alembic against one of the databases.

Guarantees: a migration that cannot get its lock gives up after a few seconds instead of queueing
every request behind it; two at once wait for each other; each revision is one transaction.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, func, pool, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.errors import OperatorError

LOCK_TIMEOUT: Final = "4s"
"""Whoever waits for a lock on a table makes everybody behind him wait as well."""

STATEMENT_TIMEOUT: Final = "60s"
"""Longer work belongs into batches outside of a migration."""

ADVISORY_LOCK: Final = 0x6D696772617465
""""migrate" in ASCII: replicas that start at once migrate one after the other."""


def run(metadata: MetaData, database_url: Callable[[], str]) -> None:
    """Bring a database to the revision that Alembic was asked for.

    Parameters:
        metadata: the tables as they should be in the end.
        database_url: reads the database's address from the settings.

    Raises:
        CommandError: a sentence about what is wrong, which Alembic prints.
    """
    try:
        asyncio.run(_run(metadata, database_url()))
    except OperatorError as error:
        raise CommandError(str(error)) from error
    except (DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise CommandError(f"the database cannot be migrated: {cause}") from error


async def _run(metadata: MetaData, database_url: str) -> None:
    settings = {
        "application_name": "migrations",
        "lock_timeout": LOCK_TIMEOUT,
        "statement_timeout": STATEMENT_TIMEOUT,
    }
    engine = create_async_engine(
        database_url,
        poolclass=pool.NullPool,
        connect_args={"timeout": 5, "server_settings": settings},
    )
    async with engine.connect() as connection:
        await connection.run_sync(_migrate, metadata)
        await connection.commit()


def _migrate(connection: Connection, metadata: MetaData) -> None:
    connection.execute(select(func.set_config("lock_timeout", "0", False)))
    connection.execute(select(func.pg_advisory_lock(ADVISORY_LOCK)))
    connection.execute(select(func.set_config("lock_timeout", LOCK_TIMEOUT, False)))
    connection.commit()
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()
