"""Through pgbouncer in transaction mode: what works there, and what says that it cannot."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.outbox.table import RELAY_LEASE
from auth_service.settings import ApiSettings, DatabaseSettings, RelaySettings
from blog_service.settings import ReconcileSettings
from local.postgres_server import PostgresServer
from service_kit.database.alone import fetch_alone, ping
from service_kit.database.engines import autocommitting, pooled
from service_kit.database.lease import hold
from service_kit.database.locks import advisory_lock
from service_kit.database.pooler import is_pooled
from service_kit.database.sessions import UnsuitableDatabase
from service_kit.database.transactions import transaction
from tests.support.hostile import SHORT, set_on_role
from tests.support.in_turn import in_turn
from tests.support.pgbouncer import PgBouncer, pgbouncer
from tests.support.processes import run
from tests.support.system import System

DROPPED = (
    "default_transaction_isolation, row_security, intervalstyle, bytea_output, extra_float_digits,"
    " transform_null_equals, array_nulls, log_parameter_max_length_on_error, idle_session_timeout,"
    " transaction_timeout, search_path, statement_timeout, lock_timeout,"
    " idle_in_transaction_session_timeout"
)
"""What administrators tell it to ignore; then it accepts a session with them, and drops them."""

CLIENTS = 12

EXPECTED = {
    "transaction_isolation": "read committed",
    "search_path": '"public", pg_temp',
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    "transaction_timeout": "0",
    "synchronous_commit": "on",
    "IntervalStyle": "postgres",
}


@pytest.fixture
def bouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    with pgbouncer(postgres) as bouncer:
        yield bouncer


@pytest.fixture
async def engine(bouncer: PgBouncer, auth_url: str) -> AsyncIterator[AsyncEngine]:
    url = bouncer.url(auth_url)
    engine = pooled(
        DatabaseSettings(_env_file=None, database_url=url, database_connections_max=CLIENTS)
    )
    yield engine
    await engine.dispose()


async def test_many_clients_share_few_sessions(engine: AsyncEngine) -> None:
    """Statements of SQLAlchemy and of the driver, cached or not, in transactions or alone."""
    counting = text("SELECT count(*) FROM users WHERE email LIKE :some")
    by_hand = "SELECT count(*) AS n FROM users WHERE email LIKE $1"

    async def work(number: int) -> None:
        for turn in range(8):
            async with engine.begin() as connection:
                assert await connection.scalar(counting, {"some": f"{number}-{turn}%"}) == 0
                await connection.execute(text("SELECT pg_sleep(0.001)"))
                assert await connection.scalar(counting, {"some": "x%"}) == 0
            async with autocommitting(engine).connect() as connection:
                assert await connection.scalar(counting, {"some": "y%"}) == 0
            [row] = await fetch_alone(engine, by_hand, "z%")
            assert row["n"] == 0
            async with transaction(engine) as several:
                assert (await several.fetch(by_hand, "a%"))[0]["n"] == 0
                assert (await several.fetch(by_hand, "b%"))[0]["n"] == 0

    await asyncio.gather(*(work(number) for number in range(CLIENTS)))
    await ping(engine)
    left = "SELECT count(*) AS n FROM pg_prepared_statements WHERE name <> ''"
    found = await asyncio.gather(*(fetch_alone(engine, left) for _ in range(CLIENTS)))
    assert [rows[0]["n"] for rows in found] == [0] * CLIENTS


async def test_a_statement_alone_is_committed(engine: AsyncEngine) -> None:
    insert = "INSERT INTO throttle_rates (key, empty_at) VALUES (:key, now() + interval '1 day')"
    async with autocommitting(engine).connect() as connection:
        done = await connection.execute(text(insert), {"key": b"k" * 32})
    assert done.rowcount == 1
    assert len(await fetch_alone(engine, "SELECT 1 FROM throttle_rates")) == 1


async def test_a_stream_reads_in_its_transaction(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        found = await connection.stream(text("SELECT generate_series(1, 500) AS n"))
        assert [row.n async for row in found] == list(range(1, 501))


@in_turn("ignores", ["", DROPPED])
async def test_each_transaction_makes_its_own_settings(
    postgres: PostgresServer, auth_url: str, ignores: str
) -> None:
    """Whether the pooler refuses or drops those of a session, and despite those of the role."""
    shown = text(
        "SELECT name, current_setting(name) AS value FROM unnest(cast(:names AS text[])) AS name"
    )
    with set_on_role(postgres, auth_url, SHORT), pgbouncer(postgres, ignores=ignores) as bouncer:
        engine = pooled(DatabaseSettings(_env_file=None, database_url=bouncer.url(auth_url)))
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert is_pooled(driver)
            rows = await connection.execute(shown, {"names": list(EXPECTED)})
            assert {row.name: row.value for row in rows} == EXPECTED
            await connection.execute(text("SELECT pg_sleep(0.4)"))
            await asyncio.sleep(0.4)
            await connection.execute(text("SELECT 1"))
        snapshot = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        async with snapshot.connect() as connection:
            isolation = await connection.scalar(text("SHOW transaction_isolation"))
            assert isolation == "repeatable read"
        await engine.dispose()


async def test_what_needs_a_session_of_its_own_is_refused(
    engine: AsyncEngine, bouncer: PgBouncer, relay_settings: RelaySettings
) -> None:
    url = bouncer.url(relay_settings.database_url)
    with pytest.raises(UnsuitableDatabase, match="_DATABASE_DIRECT_URL"):
        async with hold(relay_settings.model_copy(update={"database_url": url}), RELAY_LEASE):
            pass
    with pytest.raises(UnsuitableDatabase, match="_DATABASE_DIRECT_URL"):
        async with advisory_lock(engine, 1):
            pass


@in_turn(
    ("command", "variable"),
    [
        ("auth-service relay", "AUTH_DATABASE_URL"),
        ("blog-service consumer", "BLOG_DATABASE_URL"),
        ("blog-service reconcile", "BLOG_DATABASE_URL"),
        ("auth-service outbox prune --older-than 30d", "AUTH_DATABASE_URL"),
    ],
)
async def test_a_process_that_needs_sessions_does_not_start(
    bouncer: PgBouncer, system: System, tmp_path: Path, command: str, variable: str
) -> None:
    given = system.environment | {
        variable: bouncer.url(system.environment[variable]),
        "BLOG_AUTH_URL": "http://127.0.0.1:1",
        "BLOG_SERVICE_ID": "svc_x",
        "BLOG_API_KEY": "x",
    }
    told = await asyncio.to_thread(run, command, given, tmp_path)
    assert told.returncode != 0
    assert "leads to a pooler such as pgbouncer" in told.stderr
    assert "give PostgreSQL's own address in …_DATABASE_DIRECT_URL" in told.stderr
    assert "Traceback" not in told.stderr


async def test_commands_pass_it(bouncer: PgBouncer, auth_url: str, tmp_path: Path) -> None:
    settings = {"AUTH_DATABASE_URL": bouncer.url(auth_url)}
    told = await asyncio.to_thread(run, "auth-service status --json", settings, tmp_path)
    assert re.search(r'"unpublished": 0', told.stdout), told.stderr


def test_only_the_apis_use_the_poolers_address() -> None:
    pooler, direct = "postgresql://db:6432/a", "postgresql://db/a"

    def used(settings: type[DatabaseSettings | ReconcileSettings], **others: Any) -> str:
        return settings(
            _env_file=None, database_url=pooler, database_direct_url=direct, **others
        ).database_url

    assert "6432" not in used(DatabaseSettings)
    assert "6432" not in used(ReconcileSettings)
    secret = "a secret of more than thirty-two characters"
    assert "6432" in used(ApiSettings, issuer="https://auth.example", secret=secret)
