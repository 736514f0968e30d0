"""Each process may do in its database what it is declared to do, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

import auth_service.rights
import blog_service.rights
from local.postgres_server import PostgresServer
from service_kit.database.rights import OPERATOR, REVISIONS, Rights
from tests.support.database_roles import acting_as
from tests.support.databases import migrate

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
RIGHTS = {"auth": auth_service.rights.RIGHTS, "blog": blog_service.rights.RIGHTS}
KINDS = [f"{service}_{kind}" for service, rights in RIGHTS.items() for kind in rights.kinds]

FORBIDDEN = {
    "auth_api": [
        "DELETE FROM users",
        "DELETE FROM outbox_events",
        "UPDATE outbox_events SET published_at = now()",
        "UPDATE outbox_events SET version = version + 1",
        "DELETE FROM audit_log",
        "UPDATE audit_log SET action = ''",
        "UPDATE source SET trouble = NULL",
        "SELECT setval(pg_get_serial_sequence('outbox_events', 'position'), 1)",
    ],
    "auth_relay": [
        "SELECT password_hash FROM users",
        "SELECT * FROM users",
        "UPDATE users SET roles = '{admin}'",
        "INSERT INTO users (version) VALUES (1)",
        "UPDATE outbox_events SET payload = NULL",
        "INSERT INTO replays DEFAULT VALUES",
        "SELECT * FROM sessions",
        "SELECT * FROM signing_keys",
        "SELECT * FROM api_keys",
        "SELECT * FROM mails",
        "SELECT * FROM audit_log",
    ],
    "auth_operator": ["DELETE FROM users", "DELETE FROM audit_log"],
    "blog_api": [
        "DELETE FROM users",
        "DELETE FROM proofs",
        "INSERT INTO samples DEFAULT VALUES",
        "UPDATE digests SET users = 0",
        "DELETE FROM digest_changes",
        "DELETE FROM current_proof",
        "CREATE TEMP TABLE mine (id integer)",
    ],
    "blog_consumer": [
        "INSERT INTO posts (author_id, title, body) VALUES (gen_random_uuid(), 'a', 'b')",
        "INSERT INTO comments DEFAULT VALUES",
        "UPDATE comments SET body = 'forged'",
        "UPDATE profiles SET bio = 'forged'",
        "DELETE FROM discarded_messages",
    ],
    "blog_operator": ["DELETE FROM discarded_messages"],
}
"""Writing what another process writes, and reading what is not theirs."""

FORBIDDEN_TO_ALL = [
    "TRUNCATE users CASCADE",
    "ALTER TABLE users ADD COLUMN mine text",
    "ALTER TABLE users DISABLE TRIGGER ALL",
    "CREATE TRIGGER mine BEFORE INSERT ON users EXECUTE FUNCTION count_in_digests()",
    "DROP TABLE users CASCADE",
    "DROP FUNCTION count_in_digests() CASCADE",
    "CREATE TABLE mine (id integer)",
    "UPDATE alembic_version SET version_num = '0001'",
    "SET session_replication_role = replica",
]


@asynccontextmanager
async def acting(kind: str, url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    plain = make_url(acting_as(kind, url)).set(drivername="postgresql")
    connection = await asyncpg.connect(plain.render_as_string(hide_password=False))
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def urls(auth_url: str, blog_url: str) -> dict[str, str]:
    return {"auth": auth_url, "blog": blog_url}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_may_do_nothing_else(kind: str, urls: dict[str, str]) -> None:
    """Neither change tables, nor write what another process writes, nor read what it needs not."""
    allowed = []
    async with acting(kind, urls[kind.partition("_")[0]]) as connection:
        for statement in [*FORBIDDEN_TO_ALL, *FORBIDDEN[kind]]:
            try:
                async with connection.transaction():
                    await connection.execute(statement)
            except asyncpg.InsufficientPrivilegeError:
                continue
            allowed.append(statement)
    assert not allowed


@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_has_exactly_the_declared_rights(kind: str, urls: dict[str, str]) -> None:
    """Of every table, also those that no declaration names for it, and of the revisions."""
    service, _, process = kind.partition("_")
    async with acting(kind, urls[service]) as connection:
        found = {
            (row["relname"], privilege)
            for privilege in PRIVILEGES
            for row in await connection.fetch(
                "SELECT relname FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = 'public'::regnamespace AND has_table_privilege(oid, $1)",
                privilege,
            )
        }
    assert found == _declared(RIGHTS[service], process)


def _declared(rights: Rights, process: str) -> set[tuple[str, str]]:
    """Return the rights to whole tables; those to columns are tried above."""
    return {(REVISIONS, "SELECT")} | {
        (table, privilege)
        for table, privileges in rights.of(process)
        for privilege in PRIVILEGES
        if privilege in privileges and f"{privilege} (" not in privileges
    }


async def test_every_table_is_declared(postgres: PostgresServer, urls: dict[str, str]) -> None:
    """A table of a later migration needs a line, or no process can read it."""
    for service, rights in RIGHTS.items():
        found = postgres.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
            database=make_url(urls[service]).database,
        )
        assert {row["tablename"] for row in found} == {*rights.tables, REVISIONS}


async def test_no_role_may_enter_the_other_database(urls: dict[str, str]) -> None:
    for kind, other in (("auth_api", "blog"), ("blog_consumer", "auth")):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with acting(kind, urls[other]):
                pass


async def test_migrations_take_back_what_is_not_declared(
    auth_url: str, postgres: PostgresServer
) -> None:
    """Each run gives the rights again; a table that is not declared belongs to the owner alone."""
    database = make_url(auth_url).database
    for statement in (
        f"GRANT ALL ON users TO {_role('auth_relay', auth_url)}",
        "CREATE TABLE of_tomorrow (id integer)",
    ):
        postgres.execute(statement, database=database)
    migrate("auth", auth_url)
    async with acting("auth_relay", auth_url) as connection:
        for statement in ("DELETE FROM users", "SELECT * FROM of_tomorrow"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 1


def test_operators_have_the_rights_of_all_processes() -> None:
    """Their commands do what processes do, and restore numbers."""
    for rights in RIGHTS.values():
        everyone = {each for kind in rights.kinds for each in rights.of(kind)}
        assert everyone == set(rights.of(OPERATOR))


def _role(kind: str, url: str) -> str:
    return make_url(acting_as(kind, url)).username or ""
