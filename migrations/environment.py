"""Run Alembic against one of the databases.

Guarantees: a migration that cannot get its lock gives up after a few seconds, so it does not block
requests for longer. Two migrations at once wait for each other, also behind a pooler. Each revision
is one transaction, and so are the rights that the roles of the services get at the end.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, func, select

from service_kit.database.away import DATABASE_AWAY, describe, is_misuse
from service_kit.database.engines import Database, unpooled
from service_kit.database.rights import Rights, give_rights
from service_kit.database.sessions import Session
from service_kit.process.errors import OperatorError

LOCK_TIMEOUT_MS: Final = 4_000
"""A migration that waits for a table lock makes every later request wait too."""

STATEMENT_TIMEOUT_MS: Final = 60_000
"""Longer work belongs in batches outside a migration."""

ADVISORY_LOCK: Final = 0x6D696772617465
""""migrate" in ASCII: processes that start at once migrate one after the other."""

_TAKE_LOCK: Final = (
    select(func.set_config("lock_timeout", "0", True)),
    select(func.pg_advisory_xact_lock(ADVISORY_LOCK)),
)


class Settings(Database, Protocol):
    """The settings of a service's migrations."""

    @property
    def migrations_database_url(self) -> str | None:
        """The address as the owner of the tables; None if it is that of the processes."""

    @property
    def database_roles(self) -> str:
        """The prefix of the roles of the processes."""


def run(
    metadata: Sequence[MetaData], rights: Rights, load_settings: Callable[[], Settings]
) -> None:
    """Migrate a database to the revision that Alembic was given.

    Parameters:
        metadata: the tables as the models define them.
        rights: what the processes may do with them.
        load_settings: reads the settings of the database.

    Raises:
        CommandError: what is wrong, in a sentence that Alembic prints.
    """
    try:
        asyncio.run(_run(metadata, rights, load_settings()))
    except OperatorError as error:
        raise CommandError(str(error)) from error
    except DATABASE_AWAY as error:
        if is_misuse(error):
            raise  # a mistake in a migration
        raise CommandError(f"the database cannot be migrated: {describe(error)}") from error


async def _run(metadata: Sequence[MetaData], rights: Rights, settings: Settings) -> None:
    session = Session(
        "migrations",
        settings.database_schema,
        statement_ms=STATEMENT_TIMEOUT_MS,
        lock_ms=LOCK_TIMEOUT_MS,
        idle_in_transaction_ms=0,
    )
    address = settings.migrations_database_url or settings.database_url
    engine = unpooled(address, session)
    # The lock has a transaction of its own, apart from those of the revisions. A pooler such as
    # pgbouncer may give every transaction another session, and would leave a session lock behind.
    async with engine.begin() as turn:
        for statement in _TAKE_LOCK:
            await turn.execute(statement)
        async with engine.connect() as connection:
            await connection.run_sync(_migrate, metadata)
            await connection.commit()
            await give_rights(
                connection,
                rights,
                prefix=settings.database_roles,
                schema=settings.database_schema,
            )
            await connection.commit()


def _migrate(connection: Connection, metadata: Sequence[MetaData]) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()
