"""Run Alembic against one of the databases.

Guarantees: a migration that cannot get its lock gives up after a few seconds instead of queueing
every request behind it; two at once wait for each other, also behind a pooler; each revision is one
transaction.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, func, select

from service_kit.database.away import DATABASE_AWAY, describe, is_misuse
from service_kit.database.engines import Database, unpooled
from service_kit.database.sessions import Session
from service_kit.process.errors import OperatorError

LOCK_TIMEOUT_MS: Final = 4_000
"""A migration that waits for a lock on a table makes all requests behind it wait as well."""

STATEMENT_TIMEOUT_MS: Final = 60_000
"""Longer work belongs into batches outside of a migration."""

ADVISORY_LOCK: Final = 0x6D696772617465
""""migrate" in ASCII: replicas that start at once migrate one after the other."""

_TAKE_LOCK: Final = (
    select(func.set_config("lock_timeout", "0", True)),
    select(func.pg_advisory_xact_lock(ADVISORY_LOCK)),
)


def run(metadata: Sequence[MetaData], load_settings: Callable[[], Database]) -> None:
    """Bring a database to the revision that Alembic was asked for.

    Parameters:
        metadata: the tables as they should be in the end.
        load_settings: reads the settings of the database.

    Raises:
        CommandError: a sentence about what is wrong, which Alembic prints.
    """
    try:
        asyncio.run(_run(metadata, load_settings()))
    except OperatorError as error:
        raise CommandError(str(error)) from error
    except DATABASE_AWAY as error:
        if is_misuse(error):
            raise  # a mistake in a migration
        raise CommandError(f"the database cannot be migrated: {describe(error)}") from error


async def _run(metadata: Sequence[MetaData], settings: Database) -> None:
    session = Session(
        "migrations",
        settings.database_schema,
        statement_ms=STATEMENT_TIMEOUT_MS,
        lock_ms=LOCK_TIMEOUT_MS,
        idle_in_transaction_ms=0,
    )
    engine = unpooled(settings.database_url, session, names_statements=False)
    # The lock has a transaction of its own, beside those of the revisions: a pooler such as
    # pgbouncer may give every transaction another session, and would leave a session's lock behind.
    async with engine.begin() as turn:
        for statement in _TAKE_LOCK:
            await turn.execute(statement)
        async with engine.connect() as connection:
            await connection.run_sync(_migrate, metadata)
            await connection.commit()


def _migrate(connection: Connection, metadata: Sequence[MetaData]) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()
