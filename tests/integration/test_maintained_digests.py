"""Digests that the database keeps: every writer counts, and a reader is exact at any moment."""

import asyncio
import re
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.reconcile.table import USERS as SOURCE_USERS
from blog_service.replica_of_users import USERS as BLOG
from contracts.sync.digest import kinds_of
from contracts.sync.maintained_digests import TRIGGERS, installation
from service_kit.database.digests import fold as folding
from service_kit.database.digests.check import correct_digests
from service_kit.database.digests.fold import fold
from service_kit.database.digests.read import UsersTable, check_digests, read_digests
from service_kit.process.tasks import end_tasks
from tests.support.database_sessions import holding, reading
from tests.support.inbox import execute, fetch

USERS = {"auth": SOURCE_USERS, "blog": BLOG.digested}

LIVING = {
    "auth": "INSERT INTO users (id, version, email, password_hash)"
    " SELECT gen_random_uuid(), n, '{name}' || n || '@example.org', 'x'"
    " FROM generate_series(1, {n}) n",
    "blog": "INSERT INTO users (id, version, email, status, roles, created_at, updated_at)"
    " SELECT gen_random_uuid(), n, '{name}' || n || '@example.org', 'active', '{{b,a}}', now(),"
    " now() FROM generate_series(1, {n}) n",
}
DELETE = {
    "auth": "UPDATE users SET status = 'deleted', email = NULL, password_hash = NULL, roles = '{}',"
    " deleted_at = now(), version = version + 1",
    "blog": "UPDATE users SET status = 'deleted', email = NULL, roles = '{}', created_at = NULL,"
    " updated_at = NULL, tokens_valid_after = NULL, deleted_at = now(), version = version + 1",
}


@pytest.fixture(params=["auth", "blog"])
def service(request: pytest.FixtureRequest) -> str:
    """Return the name of each service in turn."""
    return str(request.param)


@pytest.fixture
def engine(service: str, request: pytest.FixtureRequest) -> AsyncEngine:
    """Return connections to the database of the service."""
    engine: AsyncEngine = request.getfixturevalue(f"{service}_engine")
    return engine


async def wrong(engine: AsyncEngine, users: UsersTable) -> int:
    """Return how many maintained digests differ from those that the rows have."""
    computed, wrong = await reading(engine, check_digests, users)
    if not wrong:
        kinds = kinds_of(has_all_fields=users.has_all_fields)
        assert computed == await reading(engine, read_digests, kinds)
    return wrong


async def add(engine: AsyncEngine, service: str, name: str, n: int = 100) -> None:
    """Insert living users in one statement."""
    await execute(engine, LIVING[service].format(name=name, n=n))


async def test_every_writer_counts(service: str, engine: AsyncEngine) -> None:
    """Inserts, updates, also of ids, deletions, COPY, rows that come and go in a statement.

    Also a session with another search path.
    """
    users = USERS[service]
    steps = [
        LIVING[service].format(name="a", n=300),
        "UPDATE users SET version = version + 1 WHERE version % 3 = 0",
        "UPDATE users SET email = upper(email), roles = '{b,a,c}', email_verified = true",
        "UPDATE users SET tokens_valid_after = now() WHERE version % 2 = 0",
        "UPDATE users SET id = gen_random_uuid() WHERE version % 5 = 0",
        f"{DELETE[service]} WHERE version % 7 = 0",
        "DELETE FROM users WHERE version % 11 = 0",
        "UPDATE users SET version = version",
        "WITH gone AS (DELETE FROM users WHERE version % 13 = 0 RETURNING id)"
        " UPDATE users SET version = version + 1 WHERE id NOT IN (SELECT id FROM gone)",
    ]
    for number, step in enumerate(steps):
        await execute(engine, step)
        assert await wrong(engine, users) == 0, step
        if number % 2:
            await fold(engine)
            assert await wrong(engine, users) == 0, step

    await copy_back(engine)
    assert await wrong(engine, users) == 0
    # As an operator with psql may have.
    statement = LIVING[service].format(name="z", n=10).replace("INTO users", "INTO public.users")
    await execute(engine, "SET LOCAL search_path TO pg_catalog", statement)
    assert await wrong(engine, users) == 0


async def copy_back(engine: AsyncEngine) -> None:
    """Remove all users and COPY them back, as a restore of the table's data does."""
    await execute(engine, "CREATE TABLE saved AS SELECT * FROM users", "DELETE FROM users")
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        rows = await raw.fetch("SELECT * FROM saved")
        await raw.copy_records_to_table("users", records=[tuple(row) for row in rows])
    await execute(engine, "DROP TABLE saved")


async def test_an_unchanged_digest_leaves_no_change(service: str, engine: AsyncEngine) -> None:
    """A statement appends one row for each bucket that it changes, and none otherwise."""
    await add(engine, service, "a", 500)
    counted = "count(*) AS n, count(DISTINCT bucket) AS b, sum(users) AS u"
    [row] = await fetch(engine, f"SELECT {counted} FROM digest_changes")
    assert (row.n, row.u) == (row.b, 500)
    await fold(engine)

    column = "password_hash = 'y'" if service == "auth" else "applied_at = now()"
    await execute(engine, f"UPDATE users SET {column}", "DELETE FROM users WHERE version = -1")

    assert await fetch(engine, "SELECT 1 FROM digest_changes") == []


async def test_truncate_empties_both(service: str, engine: AsyncEngine) -> None:
    """What was folded and what was not; users who come afterwards count as usual."""
    await add(engine, service, "a")
    await fold(engine)
    await add(engine, service, "b")

    await execute(engine, "TRUNCATE users CASCADE")
    empty = await reading(engine, read_digests)
    await add(engine, service, "c")

    assert (empty.rows, set(empty.state or b"x"), set(empty.versions or b"x")) == (0, {0}, {0})
    assert await wrong(engine, USERS[service]) == 0


async def test_a_rollback_takes_changes_back(service: str, engine: AsyncEngine) -> None:
    """Digests belong to the transaction of the users."""
    async with engine.connect() as connection:
        await connection.execute(text(LIVING[service].format(name="a", n=10)))
        await connection.rollback()

    assert await fetch(engine, "SELECT 1 FROM digest_changes") == []
    assert await wrong(engine, USERS[service]) == 0


async def test_writers_of_one_bucket_do_not_wait_for_each_other(
    service: str, engine: AsyncEngine
) -> None:
    """Nor for a fold, nor a fold for them."""
    ids = [UUID(int=number << 12 | 7) for number in range(1, 4)]
    column, value = ("password_hash", "x") if service == "auth" else ("status", "active")
    insert = text(
        f"INSERT INTO users (id, version, email, {column})"
        f" VALUES (CAST(:id AS uuid), 1, CAST(:email AS text), '{value}')"
    )

    async with engine.connect() as first, engine.connect() as second, asyncio.timeout(10):
        for user_id, connection in zip(ids, (first, second, first), strict=True):
            await connection.execute(insert, {"id": user_id, "email": f"{user_id}@example.org"})
        assert await fold(engine) == 0
        await second.commit()
        assert await fold(engine) == 1
        assert await wrong(engine, USERS[service]) == 0
        await first.commit()

    assert (await reading(engine, read_digests)).users == 3
    assert await wrong(engine, USERS[service]) == 0


async def test_readers_are_exact_while_many_write_and_fold(
    service: str, engine: AsyncEngine
) -> None:
    """Every snapshot has the digests of its own rows; folds in small steps, several at once."""
    users = USERS[service]

    async def write(name: str) -> None:
        for round_ in range(6):
            await add(engine, service, f"{name}{round_}-", 40)
            some = f"email LIKE '{name}%' AND version % 2 = {round_ % 2}"
            await execute(engine, f"UPDATE users SET version = version + 1 WHERE {some}")

    async def fold_again() -> None:
        while True:
            await fold(engine)
            await asyncio.sleep(0.005)

    folds = [asyncio.create_task(fold_again()) for _ in range(2)]
    writers = [asyncio.create_task(write(name)) for name in "abc"]
    reads = 0
    async with asyncio.timeout(60):
        while not all(writer.done() for writer in writers):
            assert (await reading(engine, check_digests, users)).wrong == 0
            reads += 1
    await asyncio.gather(*writers)
    await end_tasks(*folds)

    assert reads > 3
    await fold(engine)
    assert await fetch(engine, "SELECT 1 FROM digest_changes") == []
    assert await wrong(engine, users) == 0


async def test_two_folds_at_once_move_each_change_once(service: str, engine: AsyncEngine) -> None:
    """The second one leaves it to the first."""
    await add(engine, service, "a", 300)
    changes = len(await fetch(engine, "SELECT 1 FROM digest_changes"))

    moved = await asyncio.gather(*(fold(engine) for _ in range(4)))

    assert sum(moved) == changes
    assert await wrong(engine, USERS[service]) == 0
    async with holding(engine, f"SELECT pg_advisory_xact_lock({folding.LOCK_KEY})"):
        await add(engine, service, "b", 5)
        assert await fold(engine) == 0
    assert await fold(engine) > 0


DAMAGES = (
    "ALTER TABLE users DISABLE TRIGGER ALL; {write}; ALTER TABLE users ENABLE TRIGGER ALL",
    "SET session_replication_role = replica; {write}; RESET session_replication_role",
    "UPDATE digests SET state2 = (state2 + 1) & 4294967295 WHERE bucket % 7 = 0",
    "UPDATE digests SET versions4 = 4294967295 - versions4",
    "UPDATE digests SET users = 1000000000, tombstones = -1000000000"
    " WHERE bucket = (SELECT min(bucket) FROM digests)",
    "DELETE FROM digests WHERE bucket % 2 = 0",
    "DELETE FROM digest_changes",
    "INSERT INTO digest_changes SELECT * FROM digest_changes",
    "TRUNCATE digests, digest_changes",
)


async def test_what_goes_past_the_triggers_is_found_and_corrected(
    service: str, engine: AsyncEngine
) -> None:
    """By computing the digests from rows; corrected once, however many find it at once."""
    users = USERS[service]

    async def correct() -> int:
        return (await reading(engine, correct_digests, users)).buckets

    for damage in DAMAGES:
        await execute(engine, "TRUNCATE users CASCADE")
        await add(engine, service, "a", 200)
        await fold(engine)
        await add(engine, service, "b", 100)
        write = LIVING[service].format(name="c", n=20)
        await execute(engine, *damage.format(write=write).split("; "))

        found = await wrong(engine, users)
        assert found > 0, damage
        await add(engine, service, "d", 10)
        corrected = await asyncio.gather(correct(), correct(), add(engine, service, "e", 10))

        assert sorted(corrected[:2]) == [0, found], damage
        assert await wrong(engine, users) == 0, damage
        await fold(engine)
        assert await wrong(engine, users) == 0, damage


async def test_a_correction_names_triggers_that_are_off(service: str, engine: AsyncEngine) -> None:
    """With the remedy; they stay as the operator left them."""
    gone = "DROP TRIGGER digests_truncate ON users"
    await execute(engine, "ALTER TABLE users DISABLE TRIGGER digests_update", gone)
    await add(engine, service, "a", 10)
    await execute(engine, "UPDATE users SET version = version + 1")

    correction = await reading(engine, correct_digests, USERS[service])

    assert correction.buckets == 10
    assert correction.inactive == ("digests_update", "digests_truncate")
    assert "digests_update, digests_truncate are disabled or missing" in str(correction)


async def test_the_migrations_copy_the_contract(service: str, engine: AsyncEngine) -> None:
    """Migrations contain copies, because they must never change; the copies must match the code."""
    function, *triggers = installation(*USERS[service])
    [row] = await fetch(engine, "SELECT prosrc FROM pg_proc WHERE proname = 'count_in_digests'")
    body = re.findall(r"\$\$(.*)\$\$", function, re.DOTALL)[0]

    assert "".join(row.prosrc.split()) == "".join(body.split())
    of_users = "tgrelid = 'users'::regclass AND tgname LIKE 'digests%'"
    found = await fetch(engine, f"SELECT tgname FROM pg_trigger WHERE {of_users} ORDER BY 1")
    assert [each.tgname for each in found] == sorted(TRIGGERS)
    assert len(triggers) == len(TRIGGERS)
