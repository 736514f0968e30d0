"""``/v1/sync/replays``: operators start replays at the source through the blog's account."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

import auth_service.settings
from auth_service.settings import RelaySettings
from auth_service.users.transaction import change_user
from blog_service.settings import ApiSettings, ConsumerSettings
from contracts.sync.comparison import SCOPE
from tests.support.auth_api import assert_problem
from tests.support.blog_api import a_token, blog_api
from tests.support.builders import SOURCE
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.reconciling import Pair, paired
from tests.support.replaying import replaying, started

REPLAYS = "/v1/sync/replays"

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
async def pair(
    api_settings: auth_service.settings.ApiSettings,
    relay_settings: RelaySettings,
    consumer_settings: ConsumerSettings,
    auth_engine: AsyncEngine,
    blog_engine: AsyncEngine,
) -> AsyncIterator[Pair]:
    async with paired(
        api_settings,
        relay_settings,
        consumer_settings,
        auth_engine,
        blog_engine,
        scopes=[SCOPE, "replays:write"],
    ) as pair:
        await pair.fill()
        yield pair


@pytest.fixture
def plain(blog_url: str, public_pem: str) -> ApiSettings:
    return ApiSettings(_env_file=None, database_url=blog_url, public_key=public_pem, issuer=SOURCE)


@pytest.fixture
async def operator(pair: Pair) -> UUID:
    return await pair.make_operator()


@pytest.fixture
async def blog(
    pair: Pair, plain: ApiSettings, operator: UUID, signing_key: rsa.RSAPrivateKey
) -> AsyncIterator[httpx.AsyncClient]:
    async with as_operator(pair.of_the_api(plain), operator, signing_key) as client:
        yield client


@asynccontextmanager
async def as_operator(
    settings: ApiSettings, operator: UUID, key: rsa.RSAPrivateKey
) -> AsyncIterator[httpx.AsyncClient]:
    async with blog_api(settings) as client:
        client.headers["Authorization"] = f"Bearer {a_token(key, operator)}"
        yield client


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


async def test_the_sources_audit_log_names_the_operator(
    blog: httpx.AsyncClient, pair: Pair, operator: UUID
) -> None:
    """Every change names the person, and the blog's account through which they acted."""
    made = (await blog.post(REPLAYS, json={})).json()
    for state in ("paused", "running", "cancelled"):
        await blog.patch(f"{REPLAYS}/{made['id']}", json={"state": state})

    rows = await fetch(
        pair.auth,
        "SELECT action, actor, details->>'via' AS via FROM audit_log"
        " WHERE action LIKE 'replay_%' ORDER BY id",
    )
    assert [row.action for row in rows] == [
        "replay_started",
        "replay_paused",
        "replay_resumed",
        "replay_cancelled",
    ]
    assert {(row.actor, row.via) for row in rows} == {
        (f"user:{operator}", pair.settings.service_id)
    }


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("roles = '{}'", 403, "forbidden"),
        ("status = 'disabled'", 403, "account_disabled"),
        ("tokens_valid_after = now() + interval '1 minute'", 401, "invalid_token"),
    ],
    ids=["demoted", "disabled", "signed-out"],
)
async def test_the_source_checks_the_operator_before_the_replica_knows(
    blog: httpx.AsyncClient, pair: Pair, operator: UUID, change: str, status: int, code: str
) -> None:
    """The response is the source's, and no replay starts."""
    await execute(pair.auth, f"UPDATE users SET {change} WHERE id = '{operator}'")
    response = await blog.post(REPLAYS, json={})
    assert_problem(response, status, code)
    assert await fetch(pair.auth, "SELECT 1 FROM replays") == []


async def test_all_filters_reach_the_source(blog: httpx.AsyncClient) -> None:
    users = [str(uuid4()), str(uuid4())]
    everything = {
        "since": "2026-01-31T12:00:00.5+01:00",
        "until": "2026-02-01t00:00:00z",
        "from_position": 1,
        "users": users,
        "types": ["user.created", "user.deleted"],
        "rate": 7,
    }

    some = await blog.post(REPLAYS, json=everything)
    none = await blog.post(REPLAYS, json={"rate": None, "since": None})

    assert (some.status_code, none.status_code) == (201, 201)
    replay = some.json()
    assert replay["since"] == "2026-01-31T11:00:00.500000Z"
    assert replay["until"] == "2026-02-01T00:00:00Z"
    assert (replay["from_position"], replay["users"], replay["rate"]) == (1, users, 7)
    assert replay["types"] == everything["types"]
    assert "older state" in replay["warning"]
    assert (none.json()["rate"], none.json()["types"], none.json()["warning"]) == (1_000, [], None)


async def test_a_dry_run_starts_nothing(blog: httpx.AsyncClient, pair: Pair) -> None:
    async with pair.auth.begin() as connection:
        [row] = await fetch(pair.auth, "SELECT id FROM users WHERE email = 'user2@example.org'")
        await change_user(connection, row.id, email_verified=True)

    with capture_logs() as logs:
        response = await blog.post(REPLAYS, json={"dry_run": True, "rate": 1})

    assert response.status_code == 200
    plan = response.json()
    assert (plan["consumer"], plan["events"], plan["seconds"]) == ("blog", 1, 1.0)
    assert plan["by_type"] == {"user.created": 0, "user.updated": 1, "user.deleted": 0}
    assert plan["erased_users"] == 0
    assert await fetch(pair.auth, "SELECT 1 FROM replays") == []
    assert [entry for entry in logs if entry["event"] == "replay.requested"] == []


async def test_a_replay_pauses_resumes_and_ends(blog: httpx.AsyncClient, operator: UUID) -> None:
    made = (await blog.post(REPLAYS, json={})).json()
    path = f"{REPLAYS}/{made['id']}"

    with capture_logs() as logs:
        states = [
            (await blog.patch(path, json={"state": state})).json()["state"]
            for state in ("paused", "running", "cancelled")
        ]
        refused = await blog.patch(path, json={"state": "running"})

    assert states == ["paused", "running", "cancelled"]
    assert "cancelled" in assert_problem(refused, 409, "replay_finished")["detail"]
    assert (await blog.get(path)).json()["state"] == "cancelled"
    assert [
        (entry["state"], entry["actor"]) for entry in logs if entry["event"] == "replay.steered"
    ] == [(state, f"user:{operator}") for state in states]


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


class TestRefusedReplays:
    """Refusals by the source, with its own detail where it concerns the request."""

    async def test_an_unknown_replay_is_a_404(self, blog: httpx.AsyncClient) -> None:
        path = f"{REPLAYS}/{uuid4()}"
        for response in (await blog.get(path), await blog.patch(path, json={"state": "paused"})):
            assert_problem(response, 404, "not_found")

    async def test_replays_to_other_consumers_are_a_404(
        self, blog: httpx.AsyncClient, pair: Pair, relay_settings: RelaySettings
    ) -> None:
        other = await started(pair.auth, relay_settings, consumer="other")
        path = f"{REPLAYS}/{other.id}"

        responses = [await blog.get(path), await blog.patch(path, json={"state": "cancelled"})]

        for response in responses:
            assert_problem(response, 404, "not_found")
        [row] = await fetch(pair.auth, "SELECT state FROM replays")
        assert row.state == "running"

    async def test_a_pruned_log_is_a_409_with_the_remedy(
        self, blog: httpx.AsyncClient, pair: Pair
    ) -> None:
        await execute(pair.auth, "UPDATE source SET pruned_position = 1000000")
        response = await blog.post(REPLAYS, json={})
        assert "current_state" in assert_problem(response, 409, "log_pruned")["detail"]

    async def test_an_invalid_request_names_the_error(self, blog: httpx.AsyncClient) -> None:
        for body, pointer, detail in WRONG:
            response = await blog.post(REPLAYS, json=body)
            problem = assert_problem(response, 422, "invalid_request")
            pointers = [error["pointer"] for error in problem.get("errors", [])]
            assert pointers == ([pointer] if pointer else [])
            assert detail in problem.get("detail", "")


class TestUnavailableSource:
    """Problems between the blog and its source are a 503, not an error of the operator."""

    async def test_missing_settings_are_named(
        self, plain: ApiSettings, operator: UUID, signing_key: rsa.RSAPrivateKey
    ) -> None:
        async with as_operator(plain, operator, signing_key) as blog:
            responses = await _all(blog)
        for response in responses:
            detail = assert_problem(response, 503, "unavailable")["detail"]
            for name in ("BLOG_AUTH_URL", "BLOG_SERVICE_ID", "BLOG_API_KEY", "replays:write"):
                assert name in detail

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"auth_url": "http://127.0.0.1:1"}, "BLOG_AUTH_URL"),
            ({"api_key": SecretStr("usersync_wrong_wrong")}, "rotate-key"),
        ],
        ids=["away", "wrong-key"],
    )
    async def test_an_unreachable_source_or_a_wrong_key_names_the_remedy(
        self,
        pair: Pair,
        plain: ApiSettings,
        operator: UUID,
        signing_key: rsa.RSAPrivateKey,
        wrong: dict[str, Any],
        says: str,
    ) -> None:
        """The detail never contains the key."""
        settings = pair.of_the_api(plain).model_copy(update=wrong)
        async with as_operator(settings, operator, signing_key) as blog:
            responses = await _all(blog)

        for response in responses:
            assert says in assert_problem(response, 503, "unavailable")["detail"]
            assert response.headers["Retry-After"]
            assert "usersync_" not in response.text

    async def test_a_missing_scope_is_named(self, blog: httpx.AsyncClient, pair: Pair) -> None:
        await execute(pair.auth, f"UPDATE service_accounts SET scopes = ARRAY['{SCOPE}']")
        for response in await _all(blog):
            assert "replays:write" in assert_problem(response, 503, "unavailable")["detail"]


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
