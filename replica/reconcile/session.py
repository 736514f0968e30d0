"""The session in which a run compares: one connection with limits of its own, and two tables.

``seen`` has what the replica had (id, version, is_deleted) before the source was asked, ``staged``
what the source returned. Both are temporary: they end with the session, and concurrent runs do not
share them. However many users there are, they are in the database and not in memory.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events import EMAIL_LENGTH_MAX, EMAIL_LENGTH_MIN, ROLES_MAX, VERSION_MAX
from replica.settings import ReconcileSettings
from service_kit.database.engines import GRACE_SECONDS, unpooled
from service_kit.database.sessions import Session

WORK_MEMORY: Final = "64MB"
"""For sorting and joining in one statement, in the database's memory; a batch needs a tenth."""

LOCK_SECONDS_MAX: Final = 2
"""A batch waits so long for a user's row. The next try leaves out the rows that are held: others
wait for what this one holds itself."""

# As strict as the events' contract: what breaks it must not come in by another door.
_TABLES: Final = (
    f"""
    CREATE TEMP TABLE staged (
        id uuid NOT NULL,
        version bigint NOT NULL CHECK (version BETWEEN 1 AND {VERSION_MAX}),
        email text CHECK (length(email) BETWEEN {EMAIL_LENGTH_MIN} AND {EMAIL_LENGTH_MAX}),
        email_verified boolean NOT NULL,
        roles text[] NOT NULL CHECK (cardinality(roles) <= {ROLES_MAX}),
        status text NOT NULL CHECK (status IN ('active', 'disabled', 'deleted')),
        tokens_valid_after timestamptz CHECK (isfinite(tokens_valid_after)),
        created_at timestamptz CHECK (isfinite(created_at)),
        updated_at timestamptz CHECK (isfinite(updated_at)),
        deleted_at timestamptz CHECK (isfinite(deleted_at)),
        unpublished boolean NOT NULL,
        CHECK ((status = 'deleted') = (deleted_at IS NOT NULL)),
        CHECK (status = 'deleted' OR num_nulls(email, created_at, updated_at) = 0)
    )
    """,
    "CREATE TEMP TABLE seen"
    " (id uuid NOT NULL, version bigint NOT NULL, is_deleted boolean NOT NULL)",
)


@asynccontextmanager
async def session(settings: ReconcileSettings) -> AsyncIterator[AsyncConnection]:
    """The connection of one run, with the two tables, both empty."""
    seconds = settings.reconcile_statement_seconds
    engine = unpooled(
        settings.database_url,
        Session(
            f"{settings.application_name} reconcile",
            settings.database_schema,
            statement_ms=round(seconds * 1000),
            lock_ms=LOCK_SECONDS_MAX * 1000,
            idle_in_transaction_ms=0,
            # What a crash of the server forgets is repaired by the next run; the verdict comes
            # from another session, whose commit waits for all that was before it.
            is_durable=False,
            is_own=True,
            others={
                "work_mem": WORK_MEMORY,
                "temp_buffers": WORK_MEMORY,
                # Compiling costs more than it saves on statements that run for a second.
                "jit": "off",
                # Pages of a batch are parameters, by which the planner sees how small it is.
                "plan_cache_mode": "force_custom_plan",
            },
        ),
        command_seconds=seconds + GRACE_SECONDS,
    )
    async with engine.connect() as connection:
        for table in _TABLES:
            await connection.execute(text(table))
        await connection.commit()
        yield connection


async def driver(connection: AsyncConnection) -> Any:
    """The driver's own connection, for COPY."""
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None  # it was connected a moment ago
    return raw
