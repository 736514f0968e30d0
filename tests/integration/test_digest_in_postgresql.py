"""PostgreSQL computes the same digests as the Python reference, under any session settings."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.events import UserState, UserTombstone
from contracts.sync.digest import (
    DIGEST_BYTES,
    DigestKind,
    Digests,
    bucket_of,
    row_digest,
    version_digest,
)
from contracts.sync.digest_sql import (
    ROLES_FUNCTION,
    bucket_sql,
    computed_sql,
    state_hash_sql,
    version_hash_sql,
)
from local.postgres_server import PostgresServer
from tests.support.builders import NOON, a_state, a_tombstone
from tests.support.databases import encoded
from tests.support.states import ODD_TEXTS, states, tombstones

State = UserState | UserTombstone
STATE: Final = DigestKind.STATE

SESSIONS: Final = {
    "defaults": {},
    "everything changed": {
        "TimeZone": "Asia/Kathmandu",
        "DateStyle": "SQL, DMY",
        "IntervalStyle": "sql_standard",
        "extra_float_digits": "-15",
        "bytea_output": "escape",
        "quote_all_identifiers": "on",
        "standard_conforming_strings": "on",
        "lc_monetary": "C",
        "lc_numeric": "C",
        "lc_time": "C",
    },
    "in parallel": {
        "TimeZone": "America/St_Johns",
        "parallel_setup_cost": "0",
        "parallel_tuple_cost": "0",
        "min_parallel_table_scan_size": "0",
        "debug_parallel_query": "on",
    },
}


class Table:
    """A service's table of users, accessed through one database session."""

    def __init__(self, url: str, service: str, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._service = service
        dsn = url.replace("+asyncpg", "")
        self._connection: asyncpg.Connection[Any] = runner.run(asyncpg.connect(dsn))

    def set(self, options: dict[str, str]) -> None:
        """Set options of the session; skip those that this server does not know."""
        known = {row[0].lower() for row in self.rows("SELECT name FROM pg_settings")}
        for name, value in options.items():
            if name.lower() in known:
                self.rows(f"SELECT set_config('{name}', '{value}', false)")

    def rows(self, query: str) -> list[Any]:
        return list(self._runner.run(self._connection.fetch(query)))

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self._runner.run(self._connection.execute(statement))

    def fill(self, held: Sequence[State]) -> None:
        more = "password_hash" if self._service == "auth" else "applied_at"
        insert = (
            "INSERT INTO users (id, version, email, email_verified, roles, status,"
            " tokens_valid_after, created_at, updated_at, deleted_at,"
            f" {more}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        )
        self.execute("DELETE FROM users")
        values = [self._values(state) for state in held]
        self._runner.run(self._connection.executemany(insert, values))

    def _values(self, state: State) -> list[Any]:
        is_source = self._service == "auth"
        if isinstance(state, UserTombstone):
            created = NOON if is_source else None
            dead: list[Any] = [None, False, [], "deleted", None, created, created, state.deleted_at]
            return [state.id, state.version, *dead, None if is_source else NOON]
        living = [list(state.roles) if name == "roles" else value for name, value in state]
        return [*living, None, "a hash" if is_source else NOON]

    def row_digests(self, hash_sql: str = state_hash_sql()) -> dict[UUID, bytes]:
        rows = self.rows(f"SELECT id, {hash_sql} AS hash FROM users")
        return {UUID(str(row["id"])): row["hash"][:DIGEST_BYTES] for row in rows}

    def digests(self) -> Digests:
        [row] = self.rows(computed_sql("users"))
        return Digests(*row)

    def close(self) -> None:
        self._runner.run(self._connection.close())


@pytest.fixture
def tables(auth_url: str, blog_url: str) -> Iterator[dict[str, Table]]:
    with asyncio.Runner() as runner:
        urls = {"auth": auth_url, "blog": blog_url}
        both = {name: Table(url, name, runner) for name, url in urls.items()}
        yield both
        for table in both.values():
            table.close()


def is_tombstone(state: State) -> bool:
    return isinstance(state, UserTombstone)


MANY = st.lists(
    states() | states() | tombstones(),
    max_size=20,
    unique_by=(lambda state: state.id, lambda state: getattr(state, "email", state.id)),
)

ODD = [
    a_state(UUID(int=number), email=f"{number} {text}", roles=(text, "b", text, "a"))
    for number, text in enumerate(ODD_TEXTS)
]


@pytest.mark.parametrize("session", SESSIONS)
def test_every_digest_equals_the_reference(tables: dict[str, Table], session: str) -> None:
    """Of each row and bucket, for arbitrary text and times, in both tables and in every session."""
    for table in tables.values():
        table.set(SESSIONS[session])

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(MANY)
    @example([])
    @example(ODD)
    def agree(held: list[State]) -> None:
        for table in tables.values():
            table.fill(held)
            assert table.row_digests() == {state.id: row_digest(state) for state in held}
            assert table.row_digests(version_hash_sql()) == {
                each.id: version_digest(each.id, each.version, is_deleted=is_tombstone(each))
                for each in held
            }
            assert table.digests() == Digests.of_states(held)

    agree()


def test_row_digests_of_a_bucket_are_combined(tables: dict[str, Table]) -> None:
    """In any order; a changed user changes the digest of its own bucket only."""
    ids = [UUID(int=number << 12 | 0xABC) for number in range(5)]
    living = [a_state(user_id, email=f"{user_id}@example.org") for user_id in ids[:4]]
    held: list[State] = [*living, a_tombstone(ids[4])]
    auth, blog = tables["auth"], tables["blog"]
    auth.fill(held)
    blog.fill(held[::-1])
    same = auth.digests().differing(blog.digests(), STATE)

    blog.fill([*living, a_tombstone(ids[4], version=3)])

    assert same == []
    assert auth.digests().differing(blog.digests(), STATE) == [0xABC]


def test_an_incomplete_row_differs_from_a_valid_one(tables: dict[str, Table]) -> None:
    state = a_state(version=1)
    blog = tables["blog"]
    for change in (
        "version = 0, status = 'provisional'",
        *("roles = '{NULL}'", "roles = '{NULL, NULL, a}'"),
        *("email = NULL", "created_at = NULL", "updated_at = NULL"),
    ):
        blog.fill([state])
        assert blog.row_digests() == {state.id: row_digest(state)}

        blog.execute(f"UPDATE users SET {change}")

        assert blog.row_digests()[state.id] != row_digest(state)
        assert blog.digests().differing(Digests.of_states([state]), STATE) == [bucket_of(state.id)]


def test_the_encoding_and_locale_of_a_database_change_nothing(postgres: PostgresServer) -> None:
    """In Latin-1 too, lengths count characters and roles are sorted by their UTF-8 bytes."""
    state = a_state(email="zoë@example.org", roles=("é", "z", "Ä", "a"))
    with encoded(postgres, "LATIN1") as name, asyncio.Runner() as runner:
        table = Table(postgres.url(name), "blog", runner)
        table.execute(
            ROLES_FUNCTION,
            "CREATE TABLE users (id uuid, version bigint, email text, email_verified boolean,"
            " roles text[], status text, tokens_valid_after timestamptz,"
            " created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,"
            " applied_at timestamptz)",
        )
        table.fill([state])
        found = table.row_digests()
        table.close()

    assert found == {state.id: row_digest(state)}


def test_both_services_have_the_function_and_index_of_the_digests(tables: dict[str, Table]) -> None:
    """Migrations contain copies, because they must never change; the copies must match the code."""
    wanted = "".join(re.findall(r"\$\$(.*)\$\$", ROLES_FUNCTION, re.DOTALL)[0].split())
    for table in tables.values():
        [function] = table.rows(
            "SELECT prosrc, prorettype::regtype::text, provolatile, proisstrict, proparallel"
            " FROM pg_proc WHERE proname = 'digest_roles'"
        )
        assert "".join(function["prosrc"].split()) == wanted
        rest = ("bytea", b"i", True, b"s")
        assert tuple(function)[1:] == rest

        table.execute("SET enable_seqscan = off")
        plan = table.rows(f"EXPLAIN SELECT FROM users WHERE {bucket_sql()} = 17")
        assert "users_bucket_idx" in "".join(row[0] for row in plan)


def test_a_large_table_is_digested_by_parallel_workers(tables: dict[str, Table]) -> None:
    """In one pass that does not sort the rows, where the server allows parallel workers."""
    blog = tables["blog"]
    blog.execute(
        "INSERT INTO users (id, version, email, status, created_at, updated_at)"
        " SELECT gen_random_uuid(), 1, n || '@example.org', 'active', now(), now()"
        " FROM generate_series(1, 20000) AS n",
        "ANALYZE users",
        "SET min_parallel_table_scan_size = 0",
        "SET parallel_setup_cost = 0",
        "SET max_parallel_workers_per_gather = 2",
    )

    plan = [row[0] for row in blog.rows(f"EXPLAIN {computed_sql('users')}")]

    assert any("Partial HashAggregate" in line for line in plan), plan
    assert any("Parallel Seq Scan on users" in line for line in plan), plan


def test_the_digest_sql_works_with_any_table_alias(tables: dict[str, Table]) -> None:
    """A replica compares its row with a staged one in a single statement."""
    state = a_state(roles=("a", "b"))
    tables["blog"].fill([state])

    same = f"{state_hash_sql('u')} = {state_hash_sql('s')} AS is_same"
    [row] = tables["blog"].rows(f"SELECT {same} FROM users AS u JOIN users AS s USING (id)")

    assert row["is_same"]
