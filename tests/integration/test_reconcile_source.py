"""The source's side of a comparison: access, responses, and the cost of a response."""

import asyncio
import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.app import create_app
from auth_service.outbox.table import RELAY_LEASE
from auth_service.reconcile.snapshot import lines_sql
from auth_service.services.administer import delete_service
from auth_service.settings import ApiSettings
from contracts.events import UserState, UserTombstone
from contracts.sync.comparison import (
    EVERY_BUCKET,
    LINES,
    DigestsBody,
    HeartbeatBody,
    StreamBegin,
    StreamEnd,
    entity_tag,
)
from contracts.sync.digest import BUCKETS, GROUPS, DigestKind, Digests, bucket_of
from service_kit.process.rates import Rate
from tests.support.auth_api import AuthApi, Signed, assert_problem, bearer, serving, signed_up
from tests.support.builders import SOURCE
from tests.support.database_sessions import end_sessions, holding
from tests.support.eventually import eventually
from tests.support.http_server import Server, served
from tests.support.inbox import execute, fetch
from tests.support.locks import lock_waits
from tests.support.settings import having
from tests.support.states import ODD_TEXTS

DIGESTS, HEARTBEATS = "/v1/reconcile/digests", "/v1/reconcile/heartbeats"
RECOMPUTED = f"{DIGESTS}?recompute=true"
USERS = f"/v1/reconcile/users?buckets=0-{BUCKETS - 1}"
ROUTES = [("GET", DIGESTS), ("GET", USERS), ("POST", HEARTBEATS)]
SESSION = "auth-service reconcile"

MANY: Final = 30_000
"""Users whose lines take 9 MB: more than all buffers between the database and a client."""

SOME: Final = 5_000

PAUSE_SECONDS_MAX: Final = 0.020

Headers = dict[str, str]


async def a_token(api: AuthApi, *scopes: str) -> tuple[str, Headers]:
    """Create a service account with these scopes; return its id and the header with its token."""
    issued = await api.create_service(f"service-{uuid4().hex[:8]}", *scopes)
    return issued.id, bearer((await api.service_token(issued)).json())


@pytest.fixture
async def headers(api: AuthApi) -> Headers:
    """The header of a service that may compare itself."""
    _, headers = await a_token(api, "users:reconcile")
    return headers


@pytest.fixture
def replica(api: AuthApi, headers: Headers) -> AuthApi:
    """The same service as a client."""
    api.headers.update(headers)
    return api


async def insert(engine: AsyncEngine, users: int) -> None:
    """Insert users at versions from 1 on; one in ten is deleted."""
    await execute(
        engine,
        f"""
        INSERT INTO users (version, email, password_hash, status, roles, deleted_at)
        SELECT n, CASE WHEN n % 10 > 0 THEN n || '@example.org' END,
               CASE WHEN n % 10 > 0 THEN 'x' END,
               CASE WHEN n % 10 > 0 THEN 'active' ELSE 'deleted' END,
               CASE WHEN n % 10 = 1 THEN '{{a,b}}'::text[] ELSE '{{}}' END,
               CASE WHEN n % 10 = 0 THEN now() END
        FROM generate_series(1, {users}) AS n
        """,
    )


@pytest.fixture
async def many(auth_engine: AsyncEngine) -> None:
    """More users than fit into buffers."""
    await insert(auth_engine, MANY)


@pytest.fixture
def server(api_settings: ApiSettings) -> Iterator[Server]:
    """The API behind a real server, with one such response at a time, of some seconds."""
    settings = having(api_settings, reconcile_at_once_max=1, lock_timeout_ms=30_000)
    with served(create_app(settings)) as server:
        yield server


class Stream:
    """A response that a test reads as slowly as it likes."""

    def __init__(self, server: Server, path: str, headers: Headers) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port)
        self._connection.sock = socket.socket()
        # Small buffers: what the client has not read has not left the server.
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._connection.sock.settimeout(20)
        self._connection.sock.connect(("127.0.0.1", server.port))
        self._connection.request("GET", path, headers=headers)

    def begin(self) -> tuple[int, http.client.HTTPResponse]:
        self._answer = self._connection.getresponse()
        # http.client forgets the socket of a response that closes the connection.
        return self._answer.status, self._answer

    def close(self) -> None:
        self._connection.close()
        if hasattr(self, "_answer"):
            self._answer.close()


def read(lines: bytes) -> tuple[StreamBegin, list[dict[str, Any]], StreamEnd]:
    begin, *users, end = lines.splitlines(keepends=True)
    found = StreamEnd.model_validate_json(end)
    assert found.sha256 == hashlib.sha256(lines[: -len(end)]).hexdigest()
    assert found.count == len(users)
    return StreamBegin.model_validate_json(begin), [json.loads(user) for user in users], found


def states(lines: bytes) -> list[UserState | UserTombstone]:
    return [model_of(user).model_validate_json(json.dumps(user)) for user in read(lines)[1]]


def model_of(user: dict[str, Any]) -> type[UserState | UserTombstone]:
    return UserTombstone if "deleted_at" in user else UserState


async def sessions(engine: AsyncEngine) -> int:
    """Return how many connections such responses have at the moment."""
    where = f"datname = current_database() AND application_name = '{SESSION}'"
    return len(await fetch(engine, f"SELECT 1 FROM pg_stat_activity WHERE {where}"))


class TestAccess:
    """Only service accounts with the scope have access."""

    async def test_without_a_valid_token_it_is_unauthorized(self, api: AuthApi) -> None:
        for method, path in ROUTES:
            refused = await api.request(method, path)
            rubbish = await api.request(method, path, headers={"Authorization": "Bearer x"})
            assert_problem(refused, 401, "authentication_required")
            assert_problem(rubbish, 401, "invalid_token")

    async def test_users_and_other_services_are_forbidden(self, api: AuthApi, root: Signed) -> None:
        """Even administrators: a user's token has no scope. The response names the scope."""
        _, other = await a_token(api, "posts:write")
        for method, path in ROUTES:
            for headers in (bearer(root), other):
                answer = await api.request(method, path, headers=headers)
                assert_problem(answer, 403, "insufficient_scope")
                assert 'scope="users:reconcile"' in answer.headers["WWW-Authenticate"]

    async def test_a_deleted_service_is_refused(self, api: AuthApi) -> None:
        """At once, although its token is valid for some minutes."""
        service_id, headers = await a_token(api, "users:reconcile")
        before = [await api.request(*route, headers=headers) for route in ROUTES]
        await delete_service(api.engine, service_id, actor="operator:test")
        assert all(answer.is_success for answer in before)
        for route in ROUTES:
            assert_problem(await api.request(*route, headers=headers), 401, "invalid_token")


class TestDigests:
    """``GET /v1/reconcile/digests``."""

    async def test_digests_are_those_of_the_users(self, replica: AuthApi) -> None:
        await insert(replica.engine, SOME)
        [row] = await replica.fetch("SELECT identity, now() FROM source")

        answer = await replica.get(DIGESTS)
        versions = await replica.get(DIGESTS, params={"of": "versions"})

        body = DigestsBody.read(answer.content)
        lines = (await replica.get(USERS)).content
        media = answer.headers["Content-Type"], answer.headers["Cache-Control"]
        assert media == ("application/json", "no-store")
        assert body.source == row.identity
        assert 0 <= (body.taken_at - row.now).total_seconds() < 60
        wanted = Digests.of_states(states(lines))
        assert (wanted.users, wanted.tombstones) == (SOME * 9 // 10, SOME // 10)
        assert body.value() == replace(wanted, versions=None)
        assert DigestsBody.read(versions.content).value() == replace(wanted, state=None)

    async def test_an_empty_table_has_zero_digests(self, replica: AuthApi) -> None:
        answer = await replica.get(DIGESTS)
        unknown = await replica.get(DIGESTS, params={"of": "addresses"})
        body = DigestsBody.read(answer.content)
        assert body.value() == Digests(0, 0, bytes(16 * BUCKETS), None)
        assert_problem(unknown, 422, "invalid_request")

    async def test_digests_of_buckets_and_groups_are_those_of_all(self, replica: AuthApi) -> None:
        """Buckets in their order, without a tag, which names all; groups with that tag."""
        await insert(replica.engine, SOME)
        everything = await replica.get(DIGESTS)
        answer = await replica.get(DIGESTS, params={"buckets": "0-2,17"})
        refused = await replica.get(DIGESTS, params={"buckets": "3-2"})
        grouped = await replica.get(DIGESTS, params={"groups": True})

        some = DigestsBody.read(answer.content).by_bucket([range(3), range(17, 18)])
        every = DigestsBody.read(everything.content).by_bucket(EVERY_BUCKET)
        assert some == {bucket: every[bucket] for bucket in (0, 1, 2, 17)}
        assert "ETag" not in answer.headers
        assert_problem(refused, 422, "invalid_request")
        groups = DigestsBody.read(grouped.content).by_group()
        expected = DigestsBody.read(everything.content).value().groups(DigestKind.STATE)
        assert b"".join(groups) == expected.packed
        assert len(set(groups)) == GROUPS
        assert grouped.headers["ETag"] == everything.headers["ETag"]


class TestUnchanged:
    """``GET /v1/reconcile/digests`` with ``If-None-Match`` (RFC 9110)."""

    async def test_digests_that_the_client_has_are_confirmed(self, replica: AuthApi) -> None:
        """Without a body, and with the tag; HEAD does the same."""
        await insert(replica.engine, SOME)
        for of in DigestKind:
            whole = await replica.get(DIGESTS, params={"of": of})
            tag = whole.headers["ETag"]
            body = DigestsBody.read(whole.content)
            assert tag == entity_tag(body.source, of, body.value())
            for method, field in product(("GET", "HEAD"), (tag, "*", f'"other", W/{tag}')):
                known: dict[str, Any] = {"params": {"of": of}, "headers": {"If-None-Match": field}}
                answer = await replica.request(method, DIGESTS, **known)
                assert (answer.status_code, answer.content) == (304, b""), field
                assert answer.headers["ETag"] == tag

    async def test_anything_else_is_answered_whole(self, replica: AuthApi) -> None:
        """Another root, another source with the same users, another kind, no tag at all."""
        await insert(replica.engine, SOME)
        first = await replica.get(DIGESTS)
        versions = await replica.get(DIGESTS, params={"of": "versions"})
        tag = first.headers["ETag"]
        fields = [versions.headers["ETag"], tag.strip('"'), f'"{tag}', '""', "x*"]
        wrong = [await replica.get(DIGESTS, headers={"If-None-Match": field}) for field in fields]
        await replica.execute("UPDATE users SET version = version + 1 WHERE version = 7")
        changed = await replica.get(DIGESTS, headers={"If-None-Match": tag})
        now = changed.headers["ETag"]
        await replica.execute("UPDATE source SET identity = gen_random_uuid()")
        elsewhere = await replica.get(DIGESTS, headers={"If-None-Match": now})

        answers = [*wrong, changed, elsewhere]
        assert {answer.status_code for answer in answers} == {200}
        assert len({tag, versions.headers["ETag"], now, elsewhere.headers["ETag"]}) == 4


class TestUsers:
    """``GET /v1/reconcile/users``."""

    async def test_a_user_has_the_fields_of_their_events(self, replica: AuthApi) -> None:
        """Living users and tombstones; marked while an event of theirs is unpublished."""
        users_made = [await signed_up(replica, f"user{n}@example.org") for n in range(4)]
        for gone in users_made[2:]:
            assert (await replica.delete_me(gone)).status_code == 204
        ids = [each["user"]["id"] for each in users_made]
        where = f"WHERE user_id IN ('{ids[0]}', '{ids[2]}')"
        await replica.execute(f"UPDATE outbox_events SET published_at = now() {where}")
        await replica.post(HEARTBEATS)

        answer = await replica.get(USERS)

        begin, users, _ = read(answer.content)
        events = await replica.fetch(
            "SELECT DISTINCT ON (user_id) user_id, payload FROM outbox_events"
            " WHERE user_id IS NOT NULL ORDER BY user_id, position DESC"
        )
        [row] = await replica.fetch("SELECT identity, now() FROM source")
        assert answer.headers["Content-Type"] == LINES
        assert begin.source == row.identity
        assert 0 <= (row.now - begin.taken_at).total_seconds() < 60
        marked = {user["id"]: user.pop("unpublished", None) for user in users}
        assert marked == dict(zip(ids, (None, True, None, True), strict=True))
        for event in events:
            model = model_of(event.payload)
            [user] = [user for user in users if user["id"] == str(event.user_id)]
            assert user.keys() == event.payload.keys()
            recorded = model.model_validate_json(json.dumps(event.payload))
            assert model.model_validate_json(json.dumps(user)) == recorded

    async def test_unusual_text_is_streamed_unchanged(self, replica: AuthApi) -> None:
        """Quotes, control characters and line ends within a text never end a line."""
        insert = text(
            "INSERT INTO users (version, email, password_hash, roles, tokens_valid_after)"
            " VALUES (1, :email, 'x', :roles, '2026-01-01T12:00:00.1+02')"
        )
        async with replica.engine.begin() as connection:
            for number, odd in enumerate(ODD_TEXTS):
                await connection.execute(insert, {"email": f"{odd}{number}", "roles": [odd, "a"]})

        answer = await replica.get(USERS)
        told = await replica.get(DIGESTS)

        found = states(answer.content)
        emails = {state.email: state.roles for state in found if isinstance(state, UserState)}
        assert emails == {f"{odd}{number}": (odd, "a") for number, odd in enumerate(ODD_TEXTS)}
        digests = DigestsBody.read(told.content).value()
        assert digests.state == Digests.of_states(found).state

    async def test_only_the_requested_buckets_are_streamed(self, replica: AuthApi) -> None:
        """All users of these buckets and no others, tombstones too."""
        await insert(replica.engine, SOME)
        everybody = states((await replica.get(USERS)).content)
        wanted = {0, 1, 2, 17, BUCKETS - 1}

        params = {"buckets": f"0-2,17,{BUCKETS - 1}"}
        answer = await replica.get("/v1/reconcile/users", params=params)

        found = {state.id for state in states(answer.content)}
        assert found == {state.id for state in everybody if bucket_of(state.id) in wanted}
        assert 0 < len(found) < len(everybody) == SOME

    async def test_a_request_without_buckets_is_refused(self, replica: AuthApi) -> None:
        """The response names the parameter."""
        for params in ({}, *({"buckets": named} for named in ("", "x", "5-4", "1,1", "4096"))):
            answer = await replica.get("/v1/reconcile/users", params=params)
            problem = assert_problem(answer, 422, "invalid_request")
            assert [error["pointer"] for error in problem["errors"]] == ["/query/buckets"]

    async def test_few_buckets_are_found_by_their_index(self, auth_engine: AsyncEngine) -> None:
        """All buckets by one pass over the table; the log is read once in both cases."""
        await insert(auth_engine, SOME)
        await execute(auth_engine, "ANALYZE users")

        async def plan(*buckets: range) -> str:
            async with auth_engine.connect() as connection:
                lines = await connection.exec_driver_sql(f"EXPLAIN {lines_sql(buckets)}")
                return "\n".join(lines.scalars())

        few, everybody = await plan(range(3), range(9, 10)), await plan(range(BUCKETS))

        assert "Index Scan on users_bucket_idx" in few
        assert "Seq Scan on users" in everybody
        assert "users_bucket_idx" not in everybody
        assert "SubPlan" not in few + everybody


class TestCost:
    """Slow clients, clients that disconnect, and a database that fails in the middle."""

    @pytest.mark.usefixtures("many")
    async def test_a_slow_stream_is_of_one_moment(
        self, server: Server, auth_engine: AsyncEngine, headers: Headers
    ) -> None:
        """Commits after its first line are not in it, and no one waits for the client."""
        stream = Stream(server, USERS, headers)
        status, answer = stream.begin()
        server.forget_pauses()
        first = answer.read(1000)

        delete = "DELETE FROM users WHERE version % 3 = 0"
        await execute(auth_engine, "UPDATE users SET version = version + 1000000", delete)
        lines = first + answer.read()

        _, users, _ = read(lines)
        assert status == 200
        assert sorted(user["version"] for user in users) == list(range(1, MANY + 1))
        assert server.longest_pause_seconds() < PAUSE_SECONDS_MAX
        stream.close()

    @pytest.mark.usefixtures("many")
    async def test_one_request_too_many_must_retry_later(
        self, server: Server, auth_engine: AsyncEngine, headers: Headers
    ) -> None:
        """Other requests are not delayed; when a client disconnects, its place is free at once."""
        slow = Stream(server, USERS, headers)
        assert slow.begin()[0] == 200
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            refused = [await client.get(path, headers=headers) for path in (RECOMPUTED, USERS)]
            other = await client.post(HEARTBEATS, headers=headers)
            maintained = await client.get(DIGESTS, headers=headers)

        for answer in refused:
            assert_problem(answer, 503, "busy")
            assert int(answer.headers["Retry-After"]) > 0
        assert (other.status_code, maintained.status_code) == (201, 200)
        assert await sessions(auth_engine) == 1
        slow.close()
        await eventually(lambda: has_ended(auth_engine), within=5)
        assert await is_answered(server, headers)

    async def test_a_client_that_disconnects_ends_its_statement(
        self, server: Server, auth_engine: AsyncEngine, headers: Headers
    ) -> None:
        """The statement for digests, which no one will read, ends in the database."""
        async with holding(auth_engine, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"):
            caller = Stream(server, RECOMPUTED, headers)
            await eventually(lambda: lock_waits(auth_engine))

            caller.close()

            await eventually(lambda: has_ended(auth_engine), within=5)
        assert await is_answered(server, headers)

    @pytest.mark.usefixtures("many")
    async def test_an_interrupted_stream_has_no_last_line(
        self, server: Server, auth_engine: AsyncEngine, headers: Headers
    ) -> None:
        """The database ends the connection, so the API does too; the next request succeeds."""
        stream = Stream(server, USERS, headers)
        _, answer = stream.begin()
        read_so_far = answer.read(1000)

        await end_sessions(auth_engine, f"application_name = '{SESSION}'")
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as broken:
            answer.read()

        partial = getattr(broken.value, "partial", b"")
        assert b'"end"' not in read_so_far + partial
        stream.close()
        await eventually(lambda: is_answered(server, headers))

    @pytest.mark.usefixtures("many")
    async def test_a_client_that_does_not_read_is_disconnected(
        self, api_settings: ApiSettings, auth_engine: AsyncEngine, headers: Headers
    ) -> None:
        """An open snapshot keeps dead rows in the whole database."""
        with served(create_app(having(api_settings, reconcile_seconds_max=0.5))) as server:
            stream = Stream(server, USERS, headers)
            _, answer = stream.begin()
            await eventually(lambda: has_ended(auth_engine), within=10)
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                answer.read()
            stream.close()

    async def test_a_standby_is_not_read(self, replica: AuthApi) -> None:
        """It may lag, and what it lacks would look like drift."""
        function = "FUNCTION pg_catalog.pg_is_in_recovery() RETURNS boolean LANGUAGE sql"
        await replica.execute(f"CREATE OR REPLACE {function} AS 'SELECT true'")
        for path in (DIGESTS, RECOMPUTED, USERS):
            answer = await replica.get(path)
            assert "primary" in assert_problem(answer, 503, "unavailable")["detail"]
            assert "Retry-After" in answer.headers


class TestHeartbeats:
    """``POST /v1/reconcile/heartbeats``."""

    async def test_a_heartbeat_is_recorded_and_wakes_the_relay(
        self, replica: AuthApi, auth_url: str
    ) -> None:
        """The response has the fields that its event will have."""
        woken = asyncio.Event()
        listener = await asyncpg.connect(auth_url.replace("+asyncpg", ""))
        await listener.add_listener(RELAY_LEASE.channel, lambda *_: woken.set())

        first, second = [await replica.post(HEARTBEATS) for _ in range(2)]

        async with asyncio.timeout(10):
            await woken.wait()
        await listener.close()
        assert (first.status_code, second.status_code) == (201, 201)
        beats = [HeartbeatBody.model_validate_json(each.content) for each in (first, second)]
        rows = await replica.fetch("SELECT * FROM outbox_events ORDER BY position")
        [source] = await replica.fetch("SELECT identity, heartbeat FROM source")
        assert [row.type for row in rows] == ["sync.heartbeat"] * 2
        assert [beat.number for beat in beats] == [1, source.heartbeat] == [1, 2]
        for beat, row in zip(beats, rows, strict=True):
            assert row.payload == {"number": beat.number}
            assert row.occurred_at == beat.recorded_at
            assert (beat.source, beat.issuer) == (source.identity, SOURCE)

    async def test_each_heartbeat_has_its_own_number(self, replica: AuthApi) -> None:
        """Also when many are requested at once; later ones have later times."""
        answers = await asyncio.gather(*(replica.post(HEARTBEATS) for _ in range(8)))
        beats = [HeartbeatBody.model_validate_json(each.content) for each in answers]
        assert sorted(beat.number for beat in beats) == list(range(1, 9))
        by_number = sorted(beats, key=lambda beat: beat.number)
        assert by_number == sorted(beats, key=lambda beat: beat.recorded_at)

    async def test_each_service_has_its_own_limit(self, api_settings: ApiSettings) -> None:
        async with serving(having(api_settings, limit_heartbeats=Rate(2, 600))) as api:
            (_, one), (_, other) = [await a_token(api, "users:reconcile") for _ in range(2)]
            answers = [await api.post(HEARTBEATS, headers=one) for _ in range(3)]
            recorded = await api.fetch("SELECT 1 FROM outbox_events")
            unaffected = await api.post(HEARTBEATS, headers=other)

        assert [answer.status_code for answer in answers] == [201, 201, 429]
        refused = assert_problem(answers[2], 429, "too_many_requests")
        assert refused["violated-policies"] == ["heartbeats"]
        assert int(answers[2].headers["Retry-After"]) > 0
        assert answers[0].headers["RateLimit-Policy"].startswith('"heartbeats";q=2')
        assert (len(recorded), unaffected.status_code) == (2, 201)


async def test_openapi_describes_the_stream(api: AuthApi) -> None:
    """Its media type, and the form of the parameter."""
    document = (await api.get("/openapi.json")).json()
    operation = document["paths"]["/v1/reconcile/users"]["get"]
    assert operation["responses"]["200"]["content"].keys() == {LINES}
    assert operation["parameters"][0]["schema"]["pattern"]
    assert operation["responses"].keys() >= {"401", "403", "422", "503"}


async def has_ended(engine: AsyncEngine) -> bool:
    found = await sessions(engine)
    assert found == 0, f"{found} connections"
    return True


async def is_answered(server: Server, headers: Headers) -> bool:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        answer = await client.get(RECOMPUTED, headers=headers)
    assert answer.status_code == 200, answer.text
    return True
