"""Settings that every database session makes itself, and which pooled sessions are discarded."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.outbox.table import RELAY_LEASE
from auth_service.settings import RelaySettings
from blog_service.settings import ConsumerSettings
from local.postgres_server import PostgresServer
from replica.reconcile import session
from service_kit.database.alone import ping
from service_kit.database.away import NotWritable
from service_kit.database.engines import pooled
from service_kit.database.lease import LEASE_SECONDS, hold
from service_kit.database.reader import Reader
from service_kit.database.sessions import SINCE_17, UnsuitableDatabase
from tests.support.databases import encoded
from tests.support.eventually import eventually
from tests.support.hostile import set_on_role
from tests.support.in_turn import in_turn
from tests.support.inbox import execute

EXPECTED = {
    "default_transaction_isolation": "read committed",
    "search_path": '"public", pg_temp',
    "row_security": "on",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "client_encoding": "UTF8",
    "synchronous_commit": "on",
    "log_parameter_max_length_on_error": "0",
}

SHOWN = text("SELECT name, current_setting(name) AS value FROM unnest(cast(:names AS text[])) name")


@dataclass(frozen=True)
class Pools:
    """The connections of both services, and the roles that they use."""

    postgres: PostgresServer
    engines: tuple[AsyncEngine, AsyncEngine]

    async def assert_shown(
        self, expected: dict[str, str], role: dict[str, str] | None = None
    ) -> None:
        """Check the settings of new sessions while the roles have others."""
        given = (role,) if role else ()
        urls = [engine.url.render_as_string(False) for engine in self.engines]
        with (
            set_on_role(self.postgres, urls[0], *given),
            set_on_role(self.postgres, urls[1], *given),
        ):
            for engine in self.engines:
                await engine.dispose()
                async with engine.connect() as connection:
                    assert await shown(connection, list(expected)) == expected
                await engine.dispose()


@pytest.fixture
def pools(postgres: PostgresServer, auth_engine: AsyncEngine, blog_engine: AsyncEngine) -> Pools:
    return Pools(postgres, (auth_engine, blog_engine))


async def shown(connection: AsyncConnection, names: list[str]) -> dict[str, str]:
    rows = await connection.execute(SHOWN, {"names": names})
    return {row.name: row.value for row in rows}


async def fill(engine: AsyncEngine) -> list[int]:
    """Open all sessions of a pool; return their ids."""
    connections = [await engine.connect() for _ in range(5)]
    pids = [await each.scalar(text("SELECT pg_backend_pid()")) for each in connections]
    for connection in connections:
        await connection.close()
    return pids


class TestRoleSettings:
    """Settings of a role or a database do not change anything that the code relies on."""

    async def test_pooled_sessions_override_role_settings(self, pools: Pools) -> None:
        await pools.assert_shown(EXPECTED)

    async def test_special_sessions_override_role_settings(
        self,
        postgres: PostgresServer,
        relay_settings: RelaySettings,
        consumer_settings: ConsumerSettings,
    ) -> None:
        """The active relay's session and a comparison's, the only one that may lose a commit."""
        same = [
            *("default_transaction_isolation", "search_path", "transaction_timeout", "DateStyle"),
            *("idle_in_transaction_session_timeout", "synchronous_commit"),
        ]
        wanted = {name: EXPECTED[name] for name in same}
        urls = relay_settings.database_url, consumer_settings.database_url
        with set_on_role(postgres, urls[0]), set_on_role(postgres, urls[1]):
            async with hold(relay_settings, RELAY_LEASE) as leader:
                lease = {"idle_in_transaction_session_timeout": f"{LEASE_SECONDS}s"}
                assert await shown(leader.connection, same) == wanted | lease
            async with session.session(consumer_settings) as connection:
                own = {"idle_in_transaction_session_timeout": "0", "synchronous_commit": "off"}
                assert await shown(connection, same) == wanted | own

    @in_turn(
        ("given", "kept"),
        [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")],
    )
    async def test_a_commit_is_on_disk_before_it_is_reported(
        self, pools: Pools, given: str, kept: str
    ) -> None:
        name = "synchronous_commit"
        await pools.assert_shown({name: kept}, role={name: given})

    async def test_a_setting_that_an_older_server_lacks_is_left_out(
        self, monkeypatch: pytest.MonkeyPatch, blog_engine: AsyncEngine
    ) -> None:
        """For example, time limits of transactions exist since version 17."""
        monkeypatch.setitem(SINCE_17, "a_setting_of_tomorrow", "0")
        for _ in range(2):
            async with blog_engine.connect() as connection:
                assert await connection.scalar(text("SELECT 1")) == 1


class TestEndedSessions:
    """A pooled session that has ended is detected at checkout."""

    @pytest.mark.parametrize("read_meanwhile", [True, False])
    async def test_ended_sessions_are_replaced(
        self, postgres: PostgresServer, blog_engine: AsyncEngine, read_meanwhile: bool
    ) -> None:
        pids = await fill(blog_engine)
        ended = postgres.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM unnest($1::int[]) AS pid", pids
        )  # blocks our event loop meanwhile
        assert len(ended) == 5
        if read_meanwhile:
            await asyncio.sleep(0.05)

        async def use() -> Any:
            async with blog_engine.connect() as connection:
                return await connection.scalar(text("SELECT pg_backend_pid()"))

        assert not set(await asyncio.gather(*(use() for _ in range(5)))) & set(pids)

    async def test_checking_out_a_session_runs_no_statement(self, blog_engine: AsyncEngine) -> None:
        async with blog_engine.connect() as connection:
            pid = await connection.scalar(text("SELECT pg_backend_pid()"))
            await connection.rollback()
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
        queries: list[str] = []
        driver.add_query_logger(lambda record: queries.append(record.query))

        async with blog_engine.connect() as connection:
            assert await connection.scalar(text("SELECT pg_backend_pid()")) == pid

        assert [query for query in queries if "pid" not in query] == ["BEGIN;", "ROLLBACK;"]

    async def test_a_read_is_retried_if_its_session_ends(
        self, postgres: PostgresServer, blog_engine: AsyncEngine
    ) -> None:
        """This is safe because a read changes nothing."""
        reader = Reader(blog_engine, at_once=2, wait_seconds=5)
        first = (await reader.rows("SELECT pg_backend_pid() AS pid"))[0]["pid"]
        reading = asyncio.create_task(reader.rows("SELECT pg_backend_pid() AS pid, pg_sleep(0.5)"))

        async def is_ended() -> bool:
            of = "FROM pg_stat_activity WHERE pid = $1 AND state = 'active'"
            end = f"SELECT pg_terminate_backend(pid) {of}"
            return bool(await asyncio.to_thread(postgres.execute, end, first))

        await eventually(is_ended)

        assert (await reading)[0]["pid"] != first


class TestReadOnly:
    """Sessions of a read-only server are replaced soon after the server accepts writes again."""

    @pytest.fixture
    async def engine(self, blog_engine: AsyncEngine) -> AsyncEngine:
        await fill(blog_engine)
        return blog_engine

    WRITE = "CREATE TABLE IF NOT EXISTS written (number int)"

    async def is_writable(self, engine: AsyncEngine) -> bool:
        try:
            await ping(engine)
        except NotWritable:
            return False
        return True

    async def test_a_failed_write_replaces_read_only_sessions(
        self, postgres: PostgresServer, engine: AsyncEngine
    ) -> None:
        """The pooled sessions began read-only; the database has accepted writes since."""
        url = engine.url.render_as_string(False)
        with set_on_role(postgres, url, {"default_transaction_read_only": "on"}):
            await engine.dispose()
            await fill(engine)
            with pytest.raises(NotWritable):
                await ping(engine)

        with pytest.raises(DBAPIError):  # such a session is used for a second
            await execute(engine, self.WRITE)
        await execute(engine, self.WRITE)
        await ping(engine)

    async def test_read_only_sessions_are_replaced_without_a_write(
        self, postgres: PostgresServer, engine: AsyncEngine
    ) -> None:
        """Otherwise an idle process would stay not ready."""
        url = engine.url.render_as_string(False)
        with set_on_role(postgres, url, {"default_transaction_read_only": "on"}):
            await engine.dispose()
            with pytest.raises(NotWritable):
                await ping(engine)
        await eventually(lambda: self.is_writable(engine), within=5)


class TestEncoding:
    """Only UTF8 databases are accepted."""

    @pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
    async def test_another_encoding_is_refused_with_the_remedy(
        self, postgres: PostgresServer, encoding: str
    ) -> None:
        """The command in the error message creates a database that is accepted."""
        with encoded(postgres, encoding) as name:
            with pytest.raises(UnsuitableDatabase, match=encoding) as refused:
                await checked(postgres.url(name))
            postgres.execute(str(refused.value).partition("with ")[2].partition(";")[0])
            await checked(postgres.url(f"{name}_utf8"))


async def checked(url: str) -> None:
    """Use a database as a process does at its start."""
    engine = pooled(ConsumerSettings(database_url=url, amqp_url="amqp://nowhere"))
    try:
        await ping(engine)
    finally:
        await engine.dispose()
