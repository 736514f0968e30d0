"""The schemas of both databases: upgrade, downgrade, and their match with the models."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from local.postgres_server import PostgresServer
from tests.support.databases import ROOT, SERVICES, Databases, encoded
from tests.support.eventually import eventually
from tests.support.pgbouncer import pgbouncer
from tests.support.processes import run

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
RULES = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    ORDER BY 1, 2
"""
PROBE = '''
"""What a migration runs with."""

from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE probe AS SELECT current_setting('lock_timeout') AS lock_timeout,"
        " current_setting('statement_timeout') AS statement_timeout"
    )
    op.execute(
        "CREATE TABLE left_behind AS SELECT"
        " (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS named_statements,"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
        " AS own_locks"
    )
    op.execute(
        "CREATE TABLE lock_holders AS"
        " SELECT state, query LIKE '%pg_advisory_xact_lock%' AS is_short"
        " FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


def downgrade() -> None:
    op.drop_table("probe")
'''


def alembic(
    service: str, url: str, *arguments: str, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    environment = {f"{service.upper()}_DATABASE_URL": url}
    return run(["alembic", "-n", service, *arguments], environment, folder)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()


async def schema(url: str) -> list[tuple[object, ...]]:
    async with connected(url) as connection:
        columns, rules = await connection.fetch(COLUMNS), await connection.fetch(RULES)
    # An index and its constraint share a name.
    return [*map(tuple, columns), *sorted(map(tuple, rules), key=str)]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(service: str, databases: Databases) -> Iterator[str]:
    url = databases.make(service)
    yield url
    databases.drop(url)


@pytest.fixture
def empty_url(postgres: PostgresServer, url: str) -> Iterator[str]:
    name = f"{make_url(url).database}_empty"
    postgres.drop_database(name)
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


async def test_a_downgrade_and_upgrade_restore_the_schema(service: str, url: str) -> None:
    """Every revision can be reverted, leaves nothing behind, and can be applied again."""
    before = await schema(url)

    down = alembic(service, url, "downgrade", "base")
    nothing = await schema(url)
    up = alembic(service, url, "upgrade", "head")

    assert (down.returncode, up.returncode) == (0, 0), down.stderr + up.stderr
    assert {row[0] for row in nothing} == {"alembic_version"}
    assert await schema(url) == before
    assert len(before) > 20


def test_the_models_match_the_migrations(service: str, url: str) -> None:
    checked = alembic(service, url, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_a_difference_of_models_and_migrations_is_detected(service: str, url: str) -> None:
    """A renamed column is missing from the code and from the database."""
    async with connected(url) as connection:
        await connection.execute("ALTER TABLE users RENAME COLUMN email TO mail")
    checked = alembic(service, url, "check")
    assert checked.returncode != 0
    assert "mail" in checked.stdout + checked.stderr


async def test_concurrent_migrations_take_turns(service: str, url: str, empty_url: str) -> None:
    upgrade = (service, empty_url, "upgrade", "head")
    results = await asyncio.gather(*(asyncio.to_thread(alembic, *upgrade) for _ in range(2)))
    assert [done.returncode for done in results] == [0, 0], results
    assert await schema(empty_url) == await schema(url)


async def test_a_migration_that_waits_for_a_lock_gives_up(databases: Databases) -> None:
    """Otherwise every later query would queue behind it; the schema stays unchanged."""
    url = databases.make("auth")
    async with connected(url) as reader:
        async with reader.transaction():
            await reader.execute("SELECT 1 FROM users")
            downgrading = asyncio.to_thread(alembic, "auth", url, "downgrade", "base")
            migrating = asyncio.create_task(downgrading)

            # The reader holds its lock for as long as the migration tries.
            await eventually(migrating.done, within=60, every=0.1)
            await reader.execute("SELECT 1 FROM users")
        revision = await reader.fetchval("SELECT version_num FROM alembic_version")
    databases.drop(url)
    done = await migrating
    assert done.returncode != 0
    assert "lock timeout" in done.stdout + done.stderr
    assert revision == "0017"  # the newest revision that alters the locked table


@pytest.fixture
def probed(service: str, url: str, postgres: PostgresServer, tmp_path: Path) -> str:
    """Apply an extra revision that records its environment, through a pooler; return the URL."""
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    versions = tmp_path / "migrations" / service / "versions"
    head = max(path.name for path in versions.glob("0*.py"))[:4]
    (versions / "9999_probe.py").write_text(PROBE.format(head=head))
    with pgbouncer(postgres) as bouncer:
        done = alembic(service, bouncer.url(url), "upgrade", "head", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    return url


async def rows(url: str, table: str) -> list[dict[str, object]]:
    async with connected(url) as connection:
        return [dict(row) for row in await connection.fetch(f"SELECT * FROM {table}")]


async def test_a_migration_has_time_limits_and_leaves_nothing_in_a_session(probed: str) -> None:
    """Behind a pooler another client gets the session next, with its locks and statements."""
    limits = {"lock_timeout": "4s", "statement_timeout": "1min"}
    assert await rows(probed, "probe") == [limits]
    [left] = await rows(probed, "left_behind")
    assert left == {"named_statements": 0, "own_locks": 0}
    # Another session takes the lock, and its transaction ends with the migration.
    holder = {"state": "idle in transaction", "is_short": True}
    assert await rows(probed, "lock_holders") == [holder]


def test_a_database_with_another_encoding_is_refused(
    service: str, postgres: PostgresServer
) -> None:
    """Nothing is created in it; the command in the message creates one that can be migrated."""
    with encoded(postgres, "LATIN1") as name:
        refused = alembic(service, postgres.url(name), "upgrade", "head")
        public = "SELECT 1 FROM pg_tables WHERE schemaname = 'public'"
        tables = postgres.execute(public, database=name)
        output = refused.stdout + refused.stderr
        postgres.execute(output.partition("with ")[2].partition(";")[0])
        better = alembic(service, postgres.url(f"{name}_utf8"), "upgrade", "head")

    assert refused.returncode != 0
    assert "has the encoding LATIN1, and only UTF8 is supported" in output
    assert "Traceback" not in output
    assert not tables
    assert better.returncode == 0, better.stderr
