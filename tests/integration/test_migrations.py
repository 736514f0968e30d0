"""The schemas of both databases: up, down, and what the models say."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from local.postgres_server import PostgresServer
from tests.support.databases import ROOT, SERVICES, Databases
from tests.support.eventually import eventually
from tests.support.processes import BIN

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
    """Run ``alembic`` the way an operator does."""
    return subprocess.run(
        [str(BIN / "alembic"), "-n", service, *arguments],
        env={"PATH": os.environ["PATH"], f"{service.upper()}_DATABASE_URL": url},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def connect(url: str) -> asyncpg.Connection:
    """A plain connection, without any time limit."""
    return await asyncpg.connect(url.replace("+asyncpg", ""))


async def schema(url: str) -> list[tuple[object, ...]]:
    """All columns, constraints and indexes."""
    connection = await connect(url)
    try:
        columns, rules = await connection.fetch(COLUMNS), await connection.fetch(RULES)
    finally:
        await connection.close()
    # An index and its constraint share a name.
    return [*map(tuple, columns), *sorted(map(tuple, rules), key=str)]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    """Each service in turn."""
    name: str = request.param
    return name


@pytest.fixture
def url(service: str, databases: Databases) -> Iterator[str]:
    """A database of that service at the newest revision."""
    url = databases.make(service)
    yield url
    databases.drop(url)


@pytest.fixture
def empty_url(postgres: PostgresServer, url: str) -> Iterator[str]:
    """An empty database."""
    name = f"{make_url(url).database}_empty"
    postgres.drop_database(name)
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


async def test_down_and_up_again_end_where_they_began(service: str, url: str) -> None:
    """Every revision can be taken back, leaves nothing behind, and can be applied anew."""
    before = await schema(url)

    down = alembic(service, url, "downgrade", "base")
    nothing = await schema(url)
    up = alembic(service, url, "upgrade", "head")

    assert (down.returncode, up.returncode) == (0, 0), down.stderr + up.stderr
    assert {row[0] for row in nothing} == {"alembic_version"}
    assert await schema(url) == before
    assert len(before) > 20


def test_the_models_are_what_the_migrations_make(service: str, url: str) -> None:
    """Alembic finds no difference between tables in code and tables in the database."""
    checked = alembic(service, url, "check")

    assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_a_difference_between_models_and_migrations_is_noticed(
    service: str, url: str
) -> None:
    """The comparison sees a column that only the database has, and one that only the code has."""
    connection = await connect(url)
    await connection.execute("ALTER TABLE users RENAME COLUMN email TO mail")
    await connection.close()

    checked = alembic(service, url, "check")

    assert checked.returncode != 0
    assert "mail" in checked.stdout + checked.stderr


async def test_replicas_that_migrate_at_once_wait_for_each_other(
    service: str, url: str, empty_url: str
) -> None:
    """Both succeed, and the schema is made once."""
    results = await asyncio.gather(
        *(asyncio.to_thread(alembic, service, empty_url, "upgrade", "head") for _ in range(2))
    )

    assert [done.returncode for done in results] == [0, 0], results
    assert await schema(empty_url) == await schema(url)


async def test_a_migration_that_meets_a_lock_gives_up(databases: Databases) -> None:
    """It does not make everybody who comes after it wait as well; and it changes nothing."""
    url = databases.make("auth")
    reader = await connect(url)
    async with reader.transaction():
        await reader.execute("SELECT 1 FROM users")
        migrating = asyncio.create_task(
            asyncio.to_thread(alembic, "auth", url, "downgrade", "base")
        )

        # The reader goes on reading for as long as the migration tries.
        await eventually(migrating.done, within=60, every=0.1)
        await reader.execute("SELECT 1 FROM users")

    revision = await reader.fetchval("SELECT version_num FROM alembic_version")
    await reader.close()
    databases.drop(url)
    done = await migrating
    assert done.returncode != 0
    assert "lock timeout" in done.stdout + done.stderr
    assert revision == "0014"  # the newest that touches the locked table


@pytest.fixture
def probed(service: str, url: str, tmp_path: Path) -> str:
    """The address of a database after one more migration, which looked at what it ran with."""
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    versions = tmp_path / "migrations" / service / "versions"
    head = max(path.name for path in versions.glob("0*.py"))[:4]
    (versions / "9999_probe.py").write_text(PROBE.format(head=head))
    done = alembic(service, url, "upgrade", "head", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    return url


async def rows(url: str, table: str) -> list[dict[str, object]]:
    """All that a table has."""
    connection = await connect(url)
    try:
        return [dict(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
    finally:
        await connection.close()


async def test_a_migration_runs_with_time_limits(probed: str) -> None:
    """A revision that somebody adds tomorrow has them too."""
    limits = {"lock_timeout": "4s", "statement_timeout": "1min"}
    assert await rows(probed, "probe") == [limits]


async def test_a_migration_leaves_nothing_in_a_session(probed: str) -> None:
    """Behind a pooler the session is somebody else's next, with every lock and statement in it."""
    [left] = await rows(probed, "left_behind")
    assert left == {"named_statements": 0, "own_locks": 0}
    # The lock is another session's, whose transaction ends with the migration.
    holder = {"state": "idle in transaction", "is_short": True}
    assert await rows(probed, "lock_holders") == [holder]


def test_a_database_with_another_encoding_is_refused(
    service: str, postgres: PostgresServer
) -> None:
    """Nothing is made in it, and the command in the sentence makes one that can be migrated."""
    name = f"test_latin1_{service}"
    for database in (name, f"{name}_utf8"):
        postgres.drop_database(database)
    postgres.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        refused = alembic(service, postgres.url(name), "upgrade", "head")
        tables = postgres.execute(
            "SELECT 1 FROM pg_tables WHERE schemaname = 'public'", database=name
        )
        said = refused.stdout + refused.stderr
        command = said.partition("with ")[2].partition(";")[0]
        postgres.execute(command)
        better = alembic(service, postgres.url(f"{name}_utf8"), "upgrade", "head")
    finally:
        for database in (name, f"{name}_utf8"):
            postgres.drop_database(database)

    assert refused.returncode != 0
    assert "has the encoding LATIN1, and only UTF8 is supported" in said
    assert "Traceback" not in said
    assert not tables
    assert better.returncode == 0, better.stderr
