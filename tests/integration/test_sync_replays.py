"""``/v1/sync/replays``: operators start replays at the source through the blog's account."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from auth_service.settings import RelaySettings
from auth_service.users.transaction import change_user
from blog_service.settings import ApiSettings
from contracts.sync.comparison import SCOPE
from tests.support.auth_api import assert_problem
from tests.support.content import People, people_of
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.reconciling import Pair
from tests.support.replaying import AUDITED, replaying, started
from tests.support.settings import having

REPLAYS, WRITE = "/v1/sync/replays", "replays:write"

WRONG: list[tuple[dict[str, Any], str | None, str]] = [
    ({"to": "other"}, "/body/to", ""),
    ({"rate": 0}, "/body/rate", ""),
    ({"since": "yesterday"}, "/body/since", ""),
    # The source detects the rest.
    ({"since": "9999-99-99T99:99:99Z"}, "/body/since", ""),
    ({"current_state": True, "from_position": 1}, None, "current state"),
]
"""Invalid bodies, the pointer of the error, and a part of its detail."""


@pytest.fixture
async def pair(pair: Pair) -> Pair:
    await execute(pair.auth, f"UPDATE service_accounts SET scopes = ARRAY['{SCOPE}', '{WRITE}']")
    return pair


@pytest.fixture
async def operator(pair: Pair) -> UUID:
    return await pair.make_operator()


@pytest.fixture
async def blog(people: People, pair: Pair, operator: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with as_operator(people, pair.of_the_api(people.settings), operator) as client:
        yield client


@asynccontextmanager
async def as_operator(
    people: People, settings: ApiSettings, operator: UUID
) -> AsyncIterator[httpx.AsyncClient]:
    async with people_of(settings, people.key) as blog:
        blog.act_as(operator)
        yield blog.client


async def test_a_replay_reaches_the_replica(
    blog: httpx.AsyncClient, pair: Pair, relay_settings: RelaySettings, operator: UUID
) -> None:
    await pair.damage(f"DELETE FROM users WHERE id <> '{operator}'")

    with capture_logs() as logs:
        response = await blog.post(REPLAYS, json={"current_state": True, "rate": 5_000})
    made = response.json()
    async with replaying(relay_settings):
        done = await eventually(lambda: _is(blog, made["id"], "done"))
    await eventually(pair.agrees)

    [row] = await fetch(pair.auth, "SELECT * FROM replays")
    assert response.status_code == 201
    assert made["id"] == str(row.id)
    assert (made["consumer"], made["state"], made["rate"]) == ("blog", "running", 5_000)
    assert (made["expected"], made["current_state"], made["users"]) == (200, True, [])
    assert made["requested_by"] == row.requested_by == f"user:{operator}"
    assert (done["published"], done["seconds_left"]) == (200, None)
    assert done["finished_at"].endswith("Z")
    [logged] = [entry for entry in logs if entry["event"] == "replay.requested"]
    assert (logged["replay"], logged["actor"]) == (made["id"], f"user:{operator}")


async def test_the_source_checks_the_operator_before_the_replica_knows(
    blog: httpx.AsyncClient, pair: Pair, operator: UUID
) -> None:
    """The response is the source's, and no replay starts."""
    for change, status, code in [
        ("roles = '{}'", 403, "forbidden"),
        ("status = 'disabled'", 403, "account_disabled"),
        ("tokens_valid_after = now() + interval '1 minute'", 401, "invalid_token"),
    ]:
        before = "roles = '{operator}', status = 'active', tokens_valid_after = NULL"
        for values in (before, change):
            await execute(pair.auth, f"UPDATE users SET {values} WHERE id = '{operator}'")
        assert_problem(await blog.post(REPLAYS, json={}), status, code)
    assert await fetch(pair.auth, "SELECT 1 FROM replays") == []


async def test_all_filters_reach_the_source(blog: httpx.AsyncClient) -> None:
    users = [str(uuid4()), str(uuid4())]
    filters: dict[str, Any] = {"from_position": 1, "users": users, "rate": 7}
    filters["types"] = ["user.created", "user.deleted"]
    times = {"since": "2026-01-31T12:00:00.5+01:00", "until": "2026-02-01t00:00:00z"}

    some = await blog.post(REPLAYS, json=filters | times)
    none = await blog.post(REPLAYS, json={"rate": None, "since": None})

    assert (some.status_code, none.status_code) == (201, 201)
    replay = some.json()
    assert replay.items() >= filters.items()
    assert replay["since"] == "2026-01-31T11:00:00.500000Z"
    assert replay["until"] == "2026-02-01T00:00:00Z"
    assert "older state" in replay["warning"]
    assert (none.json()["rate"], none.json()["types"], none.json()["warning"]) == (1_000, [], None)


async def test_a_dry_run_starts_nothing(blog: httpx.AsyncClient, pair: Pair) -> None:
    [row] = await fetch(pair.auth, "SELECT id FROM users WHERE email = 'user2@example.org'")
    async with pair.auth.begin() as connection:
        await change_user(connection, row.id, email_verified=True)

    with capture_logs() as logs:
        response = await blog.post(REPLAYS, json={"dry_run": True, "rate": 1})

    plan = response.json()
    assert (response.status_code, plan["consumer"]) == (200, "blog")
    assert (plan["events"], plan["seconds"], plan["erased_users"]) == (1, 1.0, 0)
    assert plan["by_type"] == {"user.created": 0, "user.updated": 1, "user.deleted": 0}
    assert await fetch(pair.auth, "SELECT 1 FROM replays") == []
    assert [entry for entry in logs if entry["event"] == "replay.requested"] == []


async def test_a_replay_pauses_resumes_and_ends_and_the_sources_audit_log_says_who_did_it(
    blog: httpx.AsyncClient, pair: Pair, operator: UUID
) -> None:
    """Every change names the person, and the blog's account through which they acted."""
    made = (await blog.post(REPLAYS, json={})).json()
    path = f"{REPLAYS}/{made['id']}"

    states = ["paused", "running", "cancelled"]
    with capture_logs() as logs:
        answers = [await blog.patch(path, json={"state": state}) for state in states]
        refused = await blog.patch(path, json={"state": "running"})

    assert [answer.json()["state"] for answer in answers] == states
    assert "cancelled" in assert_problem(refused, 409, "replay_finished")["detail"]
    assert (await blog.get(path)).json()["state"] == "cancelled"
    steered = [each for each in logs if each["event"] == "replay.steered"]
    assert [each["state"] for each in steered] == states
    assert {each["actor"] for each in steered} == {f"user:{operator}"}
    rows = await fetch(pair.auth, AUDITED)
    changes = ("started", "paused", "resumed", "cancelled")
    assert [row.action for row in rows] == [f"replay_{change}" for change in changes]
    through = (f"user:{operator}", pair.settings.service_id)
    assert {(row.actor, row.via) for row in rows} == {through}


async def test_the_list_pages_through_the_blogs_own_replays(
    blog: httpx.AsyncClient, pair: Pair, relay_settings: RelaySettings
) -> None:
    """Newest first; replays to other consumers are left out."""
    made = []
    for _ in range(3):
        made.append((await blog.post(REPLAYS, json={})).json()["id"])
        await started(pair.auth, relay_settings, consumer="other")

    first = (await blog.get(REPLAYS, params={"limit": 2})).json()
    second = (await blog.get(REPLAYS, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [replay["id"] for replay in first["items"]] == made[:0:-1]
    assert [replay["id"] for replay in second["items"]] == made[:1]
    assert second["next_cursor"] is None


async def test_refusals_of_the_source_arrive_with_its_own_detail(
    blog: httpx.AsyncClient, pair: Pair, relay_settings: RelaySettings
) -> None:
    """A replay that is unknown or to another consumer, an invalid request, a pruned log."""
    other = await started(pair.auth, relay_settings, consumer="other")
    for replay_id in (uuid4(), other.id):
        path = f"{REPLAYS}/{replay_id}"
        for answer in (await blog.get(path), await blog.patch(path, json={"state": "cancelled"})):
            assert_problem(answer, 404, "not_found")
    [row] = await fetch(pair.auth, "SELECT state FROM replays")
    assert row.state == "running"

    for body, pointer, detail in WRONG:
        problem = assert_problem(await blog.post(REPLAYS, json=body), 422, "invalid_request")
        pointers = [error["pointer"] for error in problem.get("errors", [])]
        assert pointers == ([pointer] if pointer else [])
        assert detail in problem.get("detail", "")

    await execute(pair.auth, "UPDATE source SET pruned_position = 1000000")
    pruned = await blog.post(REPLAYS, json={})
    assert "current_state" in assert_problem(pruned, 409, "log_pruned")["detail"]


async def test_problems_between_blog_and_source_are_a_503_with_the_remedy(
    people: People, blog: httpx.AsyncClient, pair: Pair, operator: UUID
) -> None:
    """Not an error of the operator; the detail never contains the key."""
    complete = pair.of_the_api(people.settings)
    missing = ("BLOG_AUTH_URL", "BLOG_SERVICE_ID", "BLOG_API_KEY", WRITE)
    wrong = having(complete, api_key=SecretStr("usersync_wrong_wrong"))
    for settings, names in [
        (people.settings, missing),
        (having(complete, auth_url="http://127.0.0.1:1"), ("BLOG_AUTH_URL",)),
        (wrong, ("rotate-key",)),
    ]:
        async with as_operator(people, settings, operator) as client:
            for answer in await _all(client):
                detail = assert_problem(answer, 503, "unavailable")["detail"]
                assert all(name in detail for name in names), detail
                assert answer.headers["Retry-After"]
                assert "usersync_" not in answer.text
    await execute(pair.auth, f"UPDATE service_accounts SET scopes = ARRAY['{SCOPE}']")
    for answer in await _all(blog):
        assert WRITE in assert_problem(answer, 503, "unavailable")["detail"]


async def _all(blog: httpx.AsyncClient) -> list[httpx.Response]:
    path = f"{REPLAYS}/{uuid4()}"
    return [
        await blog.post(REPLAYS, json={}),
        await blog.get(REPLAYS),
        await blog.get(path),
        await blog.patch(path, json={"state": "paused"}),
    ]


async def _is(blog: httpx.AsyncClient, replay_id: str, state: str) -> dict[str, Any]:
    found: dict[str, Any] = (await blog.get(f"{REPLAYS}/{replay_id}")).json()
    return found if found["state"] == state else {}
