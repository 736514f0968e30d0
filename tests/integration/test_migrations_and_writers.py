"""Migrations run while the services write: what they may lock, and for how long."""

import asyncio
import itertools
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from local.postgres_server import PostgresServer
from migrations.environment import LOCK_TIMEOUT_MS
from tests.support.background import in_background
from tests.support.databases import ROOT, SERVICES, Databases
from tests.support.driver import connected
from tests.support.eventually import eventually
from tests.support.lock_notes import read_notes, take_notes
from tests.support.processes import run
from tests.support.releases import FIRST_CHAIN, FIRST_CHAIN_HEADS, code_of
from tests.support.schemas import schema_of
from tests.support.settled import figure

ROWS = 200_000
"""So many that building an index, or checking them, takes far longer than a quick command."""

ROWS_READ_MAX = 5_000
"""What a revision may read while writers wait: the digests of 4,096 buckets, some milliseconds."""

PATIENCE_MS = 2_000
"""How long a request waits for a lock (``lock_timeout_ms``)."""

# The revision after which the tables are there, and what fills them.
FILLED: dict[str, dict[str, tuple[str, ...]]] = {
    "auth": {
        "0001": (
            "INSERT INTO users (version, email, password_hash)"
            f" SELECT n, n || '@example.org', 'none' FROM generate_series(1, {ROWS}) AS n",
        ),
        "0008": (
            "INSERT INTO outbox_events (type, user_id, version)"
            " SELECT 'user.created', id, version FROM users",
            "INSERT INTO sessions (user_id) SELECT id FROM users",
            "INSERT INTO mails (user_id, purpose) SELECT id, 'verify' FROM users",
            "INSERT INTO mail_links (token_hash, user_id, purpose, expires_at)"
            " SELECT uuid_send(id), id, 'verify', now() FROM users",
        ),
    },
    "blog": {
        "0001": (
            "INSERT INTO users (id, version, email, status)"
            f" SELECT gen_random_uuid(), n, n || '@example.org', 'active'"
            f" FROM generate_series(1, {ROWS}) AS n",
        ),
        "0003": (
            "INSERT INTO parked_messages"
            " (message_hash, reason, error, exchange, routing_key, properties)"
            " SELECT uuid_send(id), 'malformed', '', '', '', '{}' FROM users",
        ),
    },
}
WRITTEN = {
    "auth": ("users", "outbox_events", "sessions", "mails", "mail_links"),
    "blog": ("users", "parked_messages"),
}
WRITES = {
    "auth": (
        "INSERT INTO users (version, email, password_hash)"
        " VALUES (1, gen_random_uuid() || '@example.org', 'none')",
        "UPDATE users SET email_verified = NOT email_verified, version = version + 1"
        " WHERE email = '{number}@example.org'",
        "INSERT INTO outbox_events (type, user_id, version)"
        " SELECT 'user.updated', id, version FROM users WHERE email = '{number}@example.org'",
        "UPDATE outbox_events SET published_at = now() WHERE position = {number}",
        "INSERT INTO mails (user_id, purpose)"
        " SELECT id, 'verify' FROM users WHERE email = '{number}@example.org'",
    ),
    "blog": (
        "INSERT INTO users (id, version, email, status)"
        " VALUES (gen_random_uuid(), 1, 'new@example.org', 'active')",
        "UPDATE users SET version = version + 1"
        " WHERE id = (SELECT id FROM users WHERE email <> '{number}' LIMIT 1)",
        "UPDATE parked_messages SET attempts = attempts + 1 WHERE id = {number}",
    ),
}
"""Statements of a writer, as requests and processes send them."""


def alembic(
    service: str, url: str, *arguments: str, code: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run the migrations of this checkout, or of another one's code."""
    environment = {f"{service.upper()}_DATABASE_URL": url, "PYTHONPATH": str(code)}
    command = ["alembic", "-n", service, *arguments]
    return run(command, environment, code, installed=code is not ROOT)


async def migrated(service: str, url: str, revision: str, *, code: Path = ROOT) -> None:
    done = await asyncio.to_thread(alembic, service, url, "upgrade", revision, code=code)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def new_url(postgres: PostgresServer, databases: Databases, service: str) -> Iterator[str]:
    """The address of an empty database."""
    url = databases.make(service)
    name = f"{make_url(url).database}_new"
    postgres.drop_database(name)
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)
    databases.drop(url)


@pytest.fixture(scope="module")
def first_chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code whose revisions kept writers out."""
    return code_of(FIRST_CHAIN, tmp_path_factory.mktemp("code"))


async def filled(service: str, url: str, *, code: Path = ROOT) -> None:
    """Migrate so far that the tables are there, fill them, and begin to note locks on them."""
    async with connected(url) as connection:
        for revision, statements in FILLED[service].items():
            await migrated(service, url, revision, code=code)
            for statement in statements:
                await connection.execute(statement)
        await take_notes(connection, *WRITTEN[service])


async def costly(url: str) -> set[str]:
    """Return where a table was read while writers had to wait for it."""
    async with connected(url) as connection:
        notes = await read_notes(connection)
    assert notes, "no revision took a lock: the notes do not work"
    return {note.place for note in notes if note.rows_read > ROWS_READ_MAX}


async def write(service: str, url: str, written: Counter[str]) -> None:
    """Write until cancelled; a statement that waits for a lock for too long fails."""
    async with connected(url) as connection:
        await connection.execute(f"SET lock_timeout = {PATIENCE_MS}")
        for number in itertools.cycle(range(1, ROWS)):
            for statement in WRITES[service]:
                await connection.execute(statement.format(number=number))
                written[statement] += 1


async def test_nobody_waits_while_a_migration_reads_a_table(service: str, new_url: str) -> None:
    """Writers continue from the first revision to the last; no lock is held for a whole table."""
    written = Counter[str]()
    await filled(service, new_url)
    async with in_background(write(service, new_url, written)):
        await migrated(service, new_url, "head")
    assert await costly(new_url) == set()
    assert set(written) == set(WRITES[service])


@pytest.mark.slow
async def test_revisions_that_kept_writers_out_are_found(
    service: str, new_url: str, first_chain: Path
) -> None:
    """The notes see what they are for, in the chain as it was."""
    await filled(service, new_url, code=first_chain)
    await migrated(service, new_url, "head", code=first_chain)
    revisions = {"auth": ("0009", "0010", "0013", "0014", "0020", "0022"), "blog": ("0004", "0006")}
    found = {place for place in await costly(new_url) if place.startswith("revision")}
    assert found == {f"revision {number}" for number in revisions[service]}


@pytest.mark.slow
async def test_the_schema_is_as_before(
    service: str, new_url: str, postgres: PostgresServer, first_chain: Path
) -> None:
    """A database that the first chain migrated needs nothing, and a new one becomes the same."""
    await migrated(service, new_url, "head", code=first_chain)
    before = await schema_of(new_url)
    await migrated(service, new_url, "head")
    checked = await asyncio.to_thread(alembic, service, new_url, "check")
    assert checked.returncode == 0, checked.stdout

    name = make_url(new_url).database or ""
    postgres.drop_database(name)
    postgres.create_database(name)
    await migrated(service, new_url, FIRST_CHAIN_HEADS[service])
    assert await schema_of(new_url) == before


BUILDING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%'
    AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > make_interval(secs => $1)
"""


@pytest.fixture
async def older(auth_before_index: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose transaction has a snapshot, which building an index waits for."""
    async with connected(auth_before_index) as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await connection.execute("SELECT 1")
        yield connection


@pytest.fixture
async def auth_before_index(databases: Databases) -> AsyncIterator[str]:
    """The address of an auth database without the index of buckets, which comes next."""
    url = databases.make("auth")
    done = await asyncio.to_thread(alembic, "auth", url, "downgrade", "0008")
    assert done.returncode == 0, done.stderr
    yield url
    databases.drop(url)


async def test_an_index_waits_for_older_transactions_and_nobody_for_it(
    auth_before_index: str, older: asyncpg.Connection
) -> None:
    """Longer than for any lock, and though a second run waits for the first one to end."""
    url = auth_before_index
    runs = [asyncio.create_task(migrated("auth", url, "0009")) for _ in range(2)]
    async with connected(url) as other:
        await eventually(lambda: other.fetchval(BUILDING, LOCK_TIMEOUT_MS / 1000 + 0.5), every=0.1)
        await other.execute("SET lock_timeout = 100")
        await other.execute(WRITES["auth"][0])
    await older.execute("ROLLBACK")
    await asyncio.gather(*runs)


async def test_an_interrupted_migration_is_repeated(
    auth_before_index: str, older: asyncpg.Connection
) -> None:
    """What is left of an index is no index: the next run builds it again."""
    url = auth_before_index
    invalid = (
        "SELECT count(*) FROM pg_index"
        " WHERE indexrelid = to_regclass('users_bucket_idx') AND NOT indisvalid"
    )
    running = asyncio.create_task(asyncio.to_thread(alembic, "auth", url, "upgrade", "head"))
    async with connected(url) as other:
        process = await eventually(lambda: other.fetchval(BUILDING, 0), every=0.1)
        await other.execute("SELECT pg_terminate_backend($1)", process)
    interrupted = await running
    assert interrupted.returncode != 0
    assert "Traceback" not in interrupted.stderr
    assert await figure(url, invalid) == 1

    await older.execute("ROLLBACK")
    await migrated("auth", url, "head")
    assert await figure(url, invalid) == 0
    checked = await asyncio.to_thread(alembic, "auth", url, "check")
    assert checked.returncode == 0, checked.stdout


async def test_a_migration_that_meets_a_lock_tries_again(databases: Databases) -> None:
    """Between two attempts, the requests that waited behind it get through."""
    url = databases.make("auth")
    # The activity view shows no wait for the moment in which a waiting session checks for a
    # deadlock; the lock that it asks for stays in the table of locks until it gives up.
    waiting = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE datname = current_database() AND application_name = 'migrations' AND NOT granted"
    )
    async with connected(url) as reader, connected(url) as other:
        await reader.execute("BEGIN")
        await reader.execute("SELECT 1 FROM outbox_events")
        running = asyncio.create_task(asyncio.to_thread(alembic, "auth", url, "downgrade", "0020"))
        await eventually(lambda: other.fetchval(waiting))
        await eventually(lambda: _is_none(other, waiting))
        await reader.execute("ROLLBACK")
        done = await running
    databases.drop(url)
    assert done.returncode == 0, done.stderr
    assert "trying again" in done.stdout


async def _is_none(connection: asyncpg.Connection, query: str) -> bool:
    return bool(await connection.fetchval(query) == 0)
