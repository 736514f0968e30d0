"""``/v1/admin/events/tail`` and ``auth-service events tail``: what is recorded and published."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.app import create_app
from auth_service.outbox.backlog import mark_published
from auth_service.outbox.record import record
from auth_service.settings import ApiSettings
from auth_service.tail import read
from auth_service.tail.read import OutboxReader
from contracts.events import Beat, Heartbeat, UserUpdated
from service_kit.http.tails import stream
from service_kit.http.tails.hub import open_tails
from tests.support.auth_api import PASSWORD, Signed, assert_problem, bearer, signed_up
from tests.support.builders import a_state
from tests.support.database_sessions import holding
from tests.support.eventually import eventually
from tests.support.http_server import Server, served
from tests.support.inbox import execute, fetch
from tests.support.processes import AuthCommand
from tests.support.tails import watching

PATH = "/v1/admin/events/tail"


@pytest.fixture
def server(api_settings: ApiSettings) -> Iterator[Server]:
    settings = api_settings.model_copy(update={"tails_per_user_max": 2, "tail_lines_per_second": 5})
    with served(create_app(settings)) as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
async def operator(client: httpx.AsyncClient, auth_engine: AsyncEngine) -> Signed:
    signed_in = await signed_up(client, "grace@example.org")
    await give_roles(auth_engine, signed_in, "operator")
    return signed_in


async def give_roles(engine: AsyncEngine, who: Signed, *roles: str) -> None:
    user = who["user"]["id"]
    await execute(engine, f"UPDATE users SET roles = '{{{','.join(roles)}}}' WHERE id = '{user}'")


async def record_updates(engine: AsyncEngine, count: int, user: Any = None) -> list[int]:
    """Record so many events of one user, and return their positions."""
    user = user or uuid4()
    async with engine.begin() as connection:
        for version in range(1, count + 1):
            await record(connection, UserUpdated.type, a_state(user, version))
    rows = await fetch(
        engine, "SELECT position FROM outbox_events WHERE user_id = :user ORDER BY 1", user=user
    )
    return [position for (position,) in rows]


async def publish(engine: AsyncEngine, positions: list[int]) -> None:
    async with engine.begin() as connection:
        await mark_published(connection, positions)


async def test_only_operators_watch(
    client: httpx.AsyncClient, auth_engine: AsyncEngine, operator: Signed
) -> None:
    """And nothing is read while nobody does."""
    await give_roles(auth_engine, operator, "admin", "editor")
    assert_problem(await client.get(PATH), 401, "authentication_required")
    assert_problem(await client.get(PATH, headers=bearer(operator)), 403, "forbidden")
    assert open_tails._value.get() == 0


async def test_an_event_is_shown_when_recorded_and_when_published_without_its_content(
    url: str, auth_engine: AsyncEngine, operator: Signed
) -> None:
    async with watching(url + PATH, bearer(operator)) as watched:
        assert watched.headers["content-type"] == "text/event-stream"
        assert watched.headers["cache-control"] == "no-store"
        user = uuid4()
        [position] = await record_updates(auth_engine, 1, user)
        recorded = await watched.shows(stage="recorded", user_id=str(user))
        assert not watched.seen(stage="published")
        await publish(auth_engine, [position])
        published = await watched.shows(stage="published", user_id=str(user))

    assert recorded.keys() == stream.LineBody.model_fields.keys()
    assert (recorded["type"], recorded["version"]) == (UserUpdated.type, 1)
    assert recorded["lag_seconds"] == 0
    assert published["event_id"] == recorded["event_id"]
    assert published["lag_seconds"] > 0
    assert "@example.org" not in watched.text


async def test_a_tail_shows_what_is_asked_for_and_counts_what_is_too_much(
    url: str, auth_engine: AsyncEngine, operator: Signed
) -> None:
    wanted, other = uuid4(), uuid4()
    async with watching(
        url + PATH, bearer(operator), type=UserUpdated.type, user=str(wanted)
    ) as watched:
        await record_updates(auth_engine, 1, other)
        async with auth_engine.begin() as connection:
            beat = Beat(number=1, recorded_at=datetime.now(UTC))
            await record(connection, Heartbeat.type, beat)
        await record_updates(auth_engine, 30, wanted)

        def counted() -> int:
            return sum(each["lines"] for each in watched.others.get("left_out", []))

        await eventually(lambda: counted() + len(watched.lines) == 30)
        assert {line["user_id"] for line in watched.lines} == {str(wanted)}
        assert counted() > 0


async def test_a_tail_continues_after_the_last_id(
    url: str, auth_engine: AsyncEngine, operator: Signed
) -> None:
    """With what was recorded and published meanwhile; an id that is none begins now."""
    async with watching(url + PATH, bearer(operator)) as watched:
        [first] = await record_updates(auth_engine, 1)
        before = await watched.shows(stage="recorded")
        await eventually(lambda: watched.last_id)
    await publish(auth_engine, [first])
    [second] = await record_updates(auth_engine, 1)
    async with watching(url + PATH, bearer(operator), after=watched.last_id) as continued:
        published = await continued.shows(stage="published")
        await continued.shows(stage="recorded", version=1)
        assert published["event_id"] == before["event_id"]
        assert before not in continued.lines
    async with watching(url + PATH, bearer(operator), after="rubbish") as fresh:
        await publish(auth_engine, [second])
        await fresh.shows(stage="published")
        assert before not in fresh.lines


async def test_the_number_of_tails_is_limited_and_their_places_are_free_again(
    url: str, client: httpx.AsyncClient, operator: Signed
) -> None:
    async with watching(url + PATH, bearer(operator)), watching(url + PATH, bearer(operator)):
        refused = await client.get(PATH, headers=bearer(operator))
        assert_problem(refused, 503, "busy")
        assert refused.headers["Retry-After"]
        assert open_tails._value.get() == 2
    await eventually(lambda: open_tails._value.get() == 0)
    assert (await client.head(PATH, headers=bearer(operator))).status_code == 200


async def test_a_tail_ends_soon_after_its_caller_lost_the_role(
    url: str,
    client: httpx.AsyncClient,
    auth_engine: AsyncEngine,
    operator: Signed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or signed out, which ends the token."""
    monkeypatch.setattr(stream, "CHECK_EVERY_SECONDS", 0.1)
    headers = bearer(operator)
    async with watching(url + PATH, headers) as watched:
        other = await client.post(
            "/v1/signin", json={"email": "grace@example.org", "password": PASSWORD}
        )
        await client.post("/v1/signout", params={"scope": "others"}, headers=bearer(other.json()))
        assert await watched.end() == "invalid_token"
    operator = other.json()
    async with watching(url + PATH, bearer(operator)) as watched:
        await give_roles(auth_engine, operator, "editor")
        assert await watched.end() == "forbidden"


async def test_a_tail_ends_with_its_time_and_with_the_process(
    api_settings: ApiSettings, operator: Signed
) -> None:
    """A stopping process does not wait for it."""
    brief = api_settings.model_copy(update={"tail_seconds_max": 0.1})
    with served(create_app(brief)) as server:
        async with watching(f"http://127.0.0.1:{server.port}{PATH}", bearer(operator)) as watched:
            assert await watched.end() == "time_is_up"
    with served(create_app(api_settings)) as server:
        async with watching(f"http://127.0.0.1:{server.port}{PATH}", bearer(operator)) as watched:
            server._ending.set()
            assert await watched.end() == "shutting_down"


async def test_events_that_commit_out_of_order_are_all_read(auth_engine: AsyncEngine) -> None:
    reader = await OutboxReader.start(auth_engine, None)
    held, other = uuid4(), uuid4()
    async with holding(auth_engine) as connection:
        await record(connection, UserUpdated.type, a_state(held))
        await record_updates(auth_engine, 1, other)
        assert [line.user_id for line in (await reader.read()).lines] == [other]
        await connection.commit()
    assert [line.user_id for line in (await reader.read()).lines] == [held]


async def test_a_reader_that_falls_behind_leaves_out_and_counts(
    auth_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "READ_MAX", 10)
    reader = await OutboxReader.start(auth_engine, None)
    await record_updates(auth_engine, 25)
    batch = await reader.read()
    assert (len(batch.lines), batch.left_out) == (10, 15)
    assert not (await reader.read()).lines


async def test_a_reader_since_a_time_leaves_nothing_out(
    auth_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "READ_MAX", 10)
    begin = datetime.now(UTC) - timedelta(hours=1)
    await record_updates(auth_engine, 25)
    reader = await OutboxReader.since(auth_engine, begin)
    batches = [await reader.read() for _ in range(4)]
    assert [(len(batch.lines), batch.left_out) for batch in batches] == [
        (10, 0),
        (10, 0),
        (5, 0),
        (0, 0),
    ]


async def test_the_publication_of_a_backlog_is_followed_from_its_oldest_events_on(
    auth_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although only a part of it can be looked up at once."""
    monkeypatch.setattr(read, "FOLLOWED_MAX", 4)
    positions = await record_updates(auth_engine, 12)
    reader = await OutboxReader.start(auth_engine, None)
    versions = []
    for begin in range(0, 12, 4):
        await publish(auth_engine, positions[begin : begin + 4])
        versions += [line.version for line in (await reader.read()).lines]
    assert versions == list(range(1, 13))


async def test_a_resumed_command_shows_the_log_since_a_time(
    auth_engine: AsyncEngine, auth_command: AuthCommand
) -> None:
    """Each event once as recorded, and once as published."""
    before, user = uuid4(), uuid4()
    await record_updates(auth_engine, 1, before)
    await execute(auth_engine, "UPDATE outbox_events SET occurred_at = now() - interval '1 hour'")
    positions = await record_updates(auth_engine, 2, user)
    await publish(auth_engine, positions[:1])

    ended = await auth_command("events tail --since 10m --no-follow --json")
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    shown = [(line["stage"], line["user_id"], line["version"]) for line in lines]
    assert shown == [
        ("recorded", str(user), 1),
        ("recorded", str(user), 2),
        ("published", str(user), 1),
    ]
    hour = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    text = await auth_command(f"events tail --since {hour} --no-follow --user {before}")
    assert text.stdout.count("\n") == 2
    assert str(user) not in text.stdout
    wrong = await auth_command("events tail --type user.unknown")
    assert wrong.returncode == 2
    assert "user.updated" in wrong.stderr
