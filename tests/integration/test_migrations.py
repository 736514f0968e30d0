"""The schemas of both databases: upgrade, downgrade, and their match with the models."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from local.postgres_server import PostgresServer
from tests.support.databases import ROOT, SERVICES, Databases, encoded
from tests.support.driver import connected
from tests.support.eventually import eventually
from tests.support.pgbouncer import pgbouncer
from tests.support.processes import run
from tests.support.schemas import schema_of

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
        " current_setting('statement_timeout') AS statement_timeout,"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
        " AS advisory_locks"
    )


def downgrade() -> None:
    op.drop_table("probe")
'''


def alembic(
    service: str, url: str, *arguments: str, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    environment = {f"{service.upper()}_DATABASE_URL": url}
    return run(["alembic", "-n", service, *arguments], environment, folder)


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
    before = await schema_of(url)

    down = alembic(service, url, "downgrade", "base")
    nothing = await schema_of(url)
    up = alembic(service, url, "upgrade", "head")

    assert (down.returncode, up.returncode) == (0, 0), down.stderr + up.stderr
    assert {row[0] for row in nothing} == {"alembic_version"}
    assert await schema_of(url) == before
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
    assert await schema_of(empty_url) == await schema_of(url)


async def test_a_migration_that_waits_for_a_lock_gives_up(databases: Databases) -> None:
    """Otherwise every later query would queue behind it; the revision stays where it was."""
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
    assert revision == "0026"  # the newest revision that alters the locked table


async def test_a_migration_has_time_limits_and_its_turn(
    service: str, url: str, tmp_path: Path
) -> None:
    """Its session has the lock for the whole run, and a limit for each statement."""
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    versions = tmp_path / "migrations" / service / "versions"
    head = max(path.name for path in versions.glob("0*.py")).partition("_")[0]
    (versions / "9999_probe.py").write_text(PROBE.format(head=head))
    done = alembic(service, url, "upgrade", "head", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    async with connected(url) as connection:
        [probe] = await connection.fetch("SELECT * FROM probe")
    limits = {"lock_timeout": "1500ms", "statement_timeout": "1min"}
    assert dict(probe) == {**limits, "advisory_locks": 1}


def test_a_pooler_is_refused(service: str, url: str, postgres: PostgresServer) -> None:
    """It runs no statement outside transactions, and would lend the locked session to others."""
    with pgbouncer(postgres) as bouncer:
        refused = alembic(service, bouncer.url(url), "upgrade", "head")
    assert refused.returncode != 0
    assert "leads to a pooler such as pgbouncer" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


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
