"""Run Alembic against one of the databases.

Guarantees: requests wait no longer for a migration than they wait for any lock. Two runs at once
take turns. Each revision is one transaction, apart from what ``concurrently`` does before it, and
so are the rights that the roles of the services get at the end.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, func, select
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_kit.database.away import DATABASE_AWAY, describe, is_locked, is_misuse
from service_kit.database.engines import Database, unpooled
from service_kit.database.rights import Rights, give_rights
from service_kit.database.sessions import Session
from service_kit.process.errors import OperatorError

LOCK_TIMEOUT_MS: Final = 1_500
"""How long one attempt waits for a table lock. Every later request waits behind it, for two seconds
at most (``lock_timeout_ms``), and is refused then. More than PostgreSQL's ``deadlock_timeout`` of
one second, after which a vacuum that nobody asked for gives way."""

LOCK_ATTEMPTS: Final = 5
"""For a lock that is held longer, such as that of a report, an operator has to choose the time."""

LOCK_PAUSE_SECONDS: Final = 1.0
"""Between two attempts, so that the requests which waited get through."""

STATEMENT_TIMEOUT_MS: Final = 60_000
"""Longer work belongs in batches outside a migration, or is done ``concurrently``."""

ADVISORY_LOCK: Final = 0x6D696772617465
""""migrate" in ASCII: processes that start at once migrate one after the other."""

TURN_SECONDS: Final = 0.5
"""Between two looks whether another run has ended."""

_TRY_LOCK: Final = select(func.pg_try_advisory_lock(ADVISORY_LOCK))


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
        cause = _end_of_session(error)
        if is_misuse(cause):
            raise  # a mistake in a migration
        raise CommandError(f"the database cannot be migrated: {describe(cause)}") from error


def _end_of_session(error: BaseException) -> BaseException:
    """Return the error that ended the session, if ``error`` only says that it has ended."""
    while isinstance(error, PendingRollbackError) and error.__context__ is not None:
        error = error.__context__
    return error


async def _run(metadata: Sequence[MetaData], rights: Rights, settings: Settings) -> None:
    session = Session(
        "migrations",
        settings.database_schema,
        statement_ms=STATEMENT_TIMEOUT_MS,
        lock_ms=LOCK_TIMEOUT_MS,
        idle_in_transaction_ms=0,
        is_own=True,
    )
    address = settings.migrations_database_url or settings.database_url
    async with unpooled(address, session).connect() as connection:
        await _take_turn(connection)
        await _migrate_between_locks(connection, metadata)
        await give_rights(
            connection,
            rights,
            prefix=settings.database_roles,
            schema=settings.database_schema,
        )
        await connection.commit()


async def _take_turn(connection: AsyncConnection) -> None:
    """Wait until no other run is at work; the lock ends with the session.

    A statement that waits would hold a snapshot. The other run may create an index concurrently,
    which waits for all snapshots: each would wait for the other.
    """
    is_told = False
    while not await connection.scalar(_TRY_LOCK):
        await connection.commit()
        if not is_told:
            context.config.print_stdout("waiting for another run of migrations to end")
            is_told = True
        await asyncio.sleep(TURN_SECONDS)
    await connection.commit()


async def _migrate_between_locks(connection: AsyncConnection, metadata: Sequence[MetaData]) -> None:
    """Run the revisions; try the one again that met another session's lock."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            await connection.run_sync(_migrate, metadata)
            await connection.commit()
            return
        except DBAPIError as error:
            if not is_locked(error) or attempt == LOCK_ATTEMPTS:
                raise
            await connection.rollback()
            context.config.print_stdout(
                f"another session has a lock: {describe(error)}; trying again"
            )
            await asyncio.sleep(LOCK_PAUSE_SECONDS)


def _migrate(connection: Connection, metadata: Sequence[MetaData]) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()
