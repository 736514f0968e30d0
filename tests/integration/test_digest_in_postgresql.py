"""PostgreSQL's digests are those of the reference, in both services' tables, however it is set."""

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
    BUCKETS,
    DIGEST_BYTES,
    DIGESTS,
    ROLES_FUNCTION,
    Digests,
    bucket_of,
    bucket_sql,
    row_digest,
    row_digest_sql,
)
from local.postgres_server import PostgresServer
from tests.conftest import WORKER
from tests.support.builders import NOON, a_state, a_tombstone
from tests.support.states import ODD_TEXTS, states, tombstones

State = UserState | UserTombstone

SESSIONS: Final = {
    "as it comes": {},
    "the other way round": {
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


class Place:
    """A table of users in a session of its own."""

    def __init__(self, url: str, service: str, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._service = service
        dsn = url.replace("+asyncpg", "")
        self._connection: asyncpg.Connection[Any] = runner.run(asyncpg.connect(dsn))

    def set(self, options: dict[str, str]) -> None:
        """Set options of the session; those that this server does not know are left."""
        known = {row[0].lower() for row in self.rows("SELECT name FROM pg_settings")}
        for name, value in options.items():
            if name.lower() in known:
                self.rows(f"SELECT set_config('{name}', '{value}', false)")

    def rows(self, query: str) -> list[Any]:
        """The rows of a query."""
        return list(self._runner.run(self._connection.fetch(query)))

    def execute(self, *statements: str) -> None:
        """Run statements."""
        for statement in statements:
            self._runner.run(self._connection.execute(statement))

    def hold(self, held: Sequence[State]) -> None:
        """Have the table hold exactly these users."""
        self._runner.run(self._hold(held))

    async def _hold(self, held: Sequence[State]) -> None:
        await self._connection.execute("DELETE FROM users")
        more, last = (
            ("password_hash", "$11") if self._service == "auth" else ("applied_at", "now()")
        )
        values = [self._values(state) for state in held]
        await self._connection.executemany(
            "INSERT INTO users (id, version, email, email_verified, roles, status,"
            " tokens_valid_after, created_at, updated_at, deleted_at,"
            f" {more}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, {last})",
            values,
        )

    def _values(self, state: State) -> list[Any]:
        is_source = self._service == "auth"
        if isinstance(state, UserTombstone):
            created = NOON if is_source else None
            dead: list[Any] = [None, False, [], "deleted", None, created, created, state.deleted_at]
            return [state.id, state.version, *dead, *([None] if is_source else [])]
        living = [list(state.roles) if name == "roles" else value for name, value in state]
        return [*living, None, *(["a hash"] if is_source else [])]

    def row_digests(self) -> dict[UUID, bytes]:
        """What PostgreSQL makes of each row."""
        rows = self.rows(f"SELECT id, {row_digest_sql()}::text AS digest FROM users")
        return {UUID(str(row["id"])): int(row["digest"], 2).to_bytes(16, "big") for row in rows}

    def digests(self) -> Digests:
        """What PostgreSQL makes of all rows."""
        return Digests.of_rows([tuple(row) for row in self.rows(DIGESTS)])

    def close(self) -> None:
        """End the session."""
        self._runner.run(self._connection.close())


@pytest.fixture
def places(auth_url: str, blog_url: str) -> Iterator[dict[str, Place]]:
    """The tables of both services."""
    with asyncio.Runner() as runner:
        both = {
            name: Place(url, name, runner) for name, url in (("auth", auth_url), ("blog", blog_url))
        }
        yield both
        for place in both.values():
            place.close()


def reference(held: Sequence[State]) -> Digests:
    """The digests of a table, without a database."""
    buckets = [0] * BUCKETS
    for state in held:
        buckets[bucket_of(state.id)] ^= int.from_bytes(row_digest(state), "big")
    dead = sum(isinstance(state, UserTombstone) for state in held)
    told = b"".join(bucket.to_bytes(DIGEST_BYTES, "big") for bucket in buckets)
    return Digests(len(held) - dead, dead, told)


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
def test_every_digest_is_that_of_the_reference(places: dict[str, Place], session: str) -> None:
    """Of rows and of buckets, whatever their text and times, in both tables and any session."""
    for place in places.values():
        place.set(SESSIONS[session])

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(MANY)
    @example([])
    @example(ODD)
    def agree(held: list[State]) -> None:
        for place in places.values():
            place.hold(held)
            assert place.row_digests() == {state.id: row_digest(state) for state in held}
            assert place.digests() == reference(held)

    agree()


def test_the_users_of_a_bucket_are_combined(places: dict[str, Place]) -> None:
    """In any order; a difference in one of them is a difference of the bucket, and of no other."""
    ids = [UUID(int=number << 12 | 0xABC) for number in range(5)]
    held: list[State] = [
        a_state(user_id, email=f"{user_id}@example.org") for user_id in ids[:4]
    ] + [a_tombstone(ids[4])]
    auth, blog = places["auth"], places["blog"]
    auth.hold(held)
    blog.hold(held[::-1])
    same = auth.digests().differing(blog.digests())

    blog.hold([*held[:4], a_tombstone(ids[4], version=3)])

    assert same == []
    assert auth.digests().differing(blog.digests()) == [0xABC]


def test_what_no_source_has_differs_from_all_that_it_has(places: dict[str, Place]) -> None:
    """A provisional user, a row that lacks what a user has: the digest is never null."""
    state = a_state(version=1)
    missing = [f"SET {name} = NULL" for name in ("email", "created_at", "updated_at")]
    blog = places["blog"]
    for change in (
        "SET version = 0, status = 'provisional'",
        "SET roles = '{NULL}'",
        "SET roles = '{NULL, NULL, a}'",
        *missing,
    ):
        blog.hold([state])
        assert blog.row_digests() == {state.id: row_digest(state)}

        blog.execute(f"UPDATE users {change}")

        assert blog.row_digests()[state.id] != row_digest(state)
        assert blog.digests().differing(reference([state])) == [bucket_of(state.id)]


def test_another_encoding_and_locale_change_nothing(postgres: PostgresServer) -> None:
    """A database in Latin-1: lengths are in characters, the order of roles that of UTF-8."""
    name = f"test_latin1_{WORKER}"
    postgres.drop_database(name)
    postgres.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    state = a_state(email="zoë@example.org", roles=("é", "z", "Ä", "a"))
    try:
        with asyncio.Runner() as runner:
            place = Place(postgres.url(name), "blog", runner)
            place.execute(
                ROLES_FUNCTION,
                "CREATE TABLE users (id uuid, version bigint, email text, email_verified boolean,"
                " roles text[], status text, tokens_valid_after timestamptz,"
                " created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,"
                " applied_at timestamptz)",
            )
            place.hold([state])
            found = place.row_digests()
            place.close()
    finally:
        postgres.drop_database(name)

    assert found == {state.id: row_digest(state)}


def test_both_services_have_the_same_function_and_index(places: dict[str, Place]) -> None:
    """Migrations keep copies, since they must not change; these must be what the digests need."""
    wanted = "".join(re.findall(r"\$\$(.*)\$\$", ROLES_FUNCTION, re.DOTALL)[0].split())
    for place in places.values():
        [function] = place.rows(
            "SELECT prosrc, prorettype::regtype::text AS returns, provolatile, proisstrict,"
            " proparallel FROM pg_proc WHERE proname = 'digest_roles'"
        )
        assert "".join(function["prosrc"].split()) == wanted
        assert function["returns"] == "bytea"
        assert function["provolatile"] == b"i"
        assert function["proisstrict"]
        assert function["proparallel"] == b"s"

        place.execute("SET enable_seqscan = off")
        plan = place.rows(f"EXPLAIN SELECT FROM users WHERE {bucket_sql()} = 17")
        assert "users_bucket_idx" in "".join(row[0] for row in plan)


def test_a_large_table_is_hashed_by_several_workers(places: dict[str, Place]) -> None:
    """One pass without a sort of the rows, on more than one core where the server has them."""
    blog = places["blog"]
    blog.execute(
        "INSERT INTO users (id, version, email, status, created_at, updated_at)"
        " SELECT gen_random_uuid(), 1, n || '@example.org', 'active', now(), now()"
        " FROM generate_series(1, 20000) AS n",
        "ANALYZE users",
        "SET min_parallel_table_scan_size = 0",
        "SET parallel_setup_cost = 0",
        "SET max_parallel_workers_per_gather = 2",
    )

    plan = [row[0] for row in blog.rows(f"EXPLAIN {DIGESTS}")]

    assert any("Partial HashAggregate" in line for line in plan), plan
    assert any("Parallel Seq Scan on users" in line for line in plan), plan


def test_the_same_statement_is_valid_for_other_names(places: dict[str, Place]) -> None:
    """A replica compares its row with a staged one in one statement."""
    state = a_state(roles=("a", "b"))
    places["blog"].hold([state])

    [row] = places["blog"].rows(
        f"SELECT {row_digest_sql('u')} = {row_digest_sql('s')} AS is_same"
        " FROM users AS u JOIN users AS s USING (id)"
    )

    assert row["is_same"]
