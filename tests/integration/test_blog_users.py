"""The blog's API decides by the token and the replica's row who is calling, on every request."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.settings import ApiSettings
from tests.support.blog_api import a_token, blog_api
from tests.support.builders import NOON, SOURCE, a_state, a_tombstone
from tests.support.inbox import apply_events
from tests.support.inbox import replica as replica_of

PROBLEM = "application/problem+json"


@pytest.fixture
async def blog(blog_url: str, public_pem: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = ApiSettings(database_url=blog_url, public_key=public_pem, issuer=SOURCE)
    async with blog_api(settings) as client:
        yield client


@pytest.fixture
def bearer(signing_key: rsa.RSAPrivateKey) -> Any:
    def make(subject: UUID | str, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {a_token(signing_key, subject, **claims)}"}

    return make


async def test_me_returns_the_replicas_row(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    state = a_state(version=7, email_verified=True, roles=("moderator", "editor"))
    await apply_events(blog_engine, state)

    response = await blog.get("/v1/me", headers=bearer(state.id))

    assert response.status_code == 200
    body = response.json()
    times = {name: datetime.fromisoformat(body.pop(name)) for name in ("created_at", "updated_at")}
    assert times == {"created_at": NOON, "updated_at": NOON}
    assert body == {
        "id": str(state.id),
        "email": state.email,
        "email_verified": True,
        "roles": ["moderator", "editor"],
        "status": "active",
        "version": 7,
        "display_name": None,
        "bio": None,
        "avatar_url": None,
    }


async def test_the_first_request_after_sign_up_works(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    """A user without a row is served; their event then fills the provisional row."""
    user_id = uuid4()

    before = await blog.get("/v1/me", headers=bearer(user_id))
    await apply_events(blog_engine, a_state(user_id, 4))
    after = await blog.get("/v1/me", headers=bearer(user_id))

    assert (before.status_code, before.json()["status"], before.json()["version"]) == (
        200,
        "provisional",
        0,
    )
    assert before.json()["email"] is None
    assert (after.json()["status"], after.json()["version"]) == ("active", 4)


async def test_a_deleted_user_gets_401(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    """A valid token does not create the user again."""
    state = a_state()
    headers = bearer(state.id)
    await apply_events(blog_engine, state)
    before = await blog.get("/v1/me", headers=headers)

    await apply_events(blog_engine, a_tombstone(state.id, 2))
    after = await blog.get("/v1/me", headers=headers)

    assert before.status_code == 200
    _is_problem(after, 401, "invalid_token")
    assert after.headers["WWW-Authenticate"] == 'Bearer realm="usersync", error="invalid_token"'
    assert (await replica_of(blog_engine))[state.id].status == "deleted"


async def test_a_disabled_user_gets_403(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    """Until the account is enabled again."""
    state = a_state(status="disabled")
    headers = bearer(state.id)
    await apply_events(blog_engine, state)

    disabled = await blog.get("/v1/me", headers=headers)
    await apply_events(blog_engine, a_state(state.id, 2))
    enabled = await blog.get("/v1/me", headers=headers)

    _is_problem(disabled, 403, "account_disabled")
    assert enabled.status_code == 200


@pytest.mark.parametrize(("seconds", "status"), [(-1, 401), (0, 200), (1, 200)])
async def test_tokens_issued_before_the_cutoff_are_refused(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any, seconds: int, status: int
) -> None:
    """``tokens_valid_after`` refuses tokens issued before that second, and no others."""
    state = a_state()
    valid_after = datetime.fromtimestamp(int(time.time()) - 10, UTC)
    headers = bearer(state.id, iat=int(valid_after.timestamp()) + seconds)
    await apply_events(blog_engine, state)
    before = await blog.get("/v1/me", headers=headers)

    await apply_events(blog_engine, a_state(state.id, 2, tokens_valid_after=valid_after))
    after = await blog.get("/v1/me", headers=headers)

    assert before.status_code == 200
    assert after.status_code == status
    if status == 401:
        _is_problem(after, 401, "invalid_token")
        assert 'error="invalid_token"' in after.headers["WWW-Authenticate"]


async def test_a_token_issued_in_the_next_second_is_accepted(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    """Right after a cutoff ``iat`` is one second ahead; the leeway of the verifier covers it."""
    valid_after = datetime.fromtimestamp(int(time.time()) + 1, UTC)
    state = a_state(tokens_valid_after=valid_after)
    await apply_events(blog_engine, state)
    response = await blog.get("/v1/me", headers=bearer(state.id, iat=int(valid_after.timestamp())))
    assert response.status_code == 200


async def test_a_disabled_user_with_an_older_token_gets_403(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    """Disabling also moves ``tokens_valid_after``; 401 would only make the user sign in again."""
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    state = a_state(status="disabled", tokens_valid_after=later)
    await apply_events(blog_engine, state)
    response = await blog.get("/v1/me", headers=bearer(state.id))
    _is_problem(response, 403, "account_disabled")


async def test_a_service_token_is_refused_where_a_user_is_needed(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    """A service has no user account and gets no provisional row."""
    response = await blog.get("/v1/me", headers=bearer("svc_blog"))
    _is_problem(response, 403, "user_required")
    assert await replica_of(blog_engine) == {}


@pytest.mark.parametrize(
    ("headers", "status", "code", "challenge"),
    [
        ({}, 401, "authentication_required", 'Bearer realm="usersync"'),
        (
            {"Authorization": "Basic YTpi"},
            401,
            "authentication_required",
            'Bearer realm="usersync"',
        ),
        (
            {"Authorization": "Bearer not.a.token"},
            401,
            "invalid_token",
            'Bearer realm="usersync", error="invalid_token"',
        ),
        (
            [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
            400,
            "two_credentials",
            'Bearer realm="usersync", error="invalid_request"',
        ),
    ],
)
async def test_a_request_without_a_valid_token_is_challenged(
    blog: httpx.AsyncClient, headers: Any, status: int, code: str, challenge: str
) -> None:
    response = await blog.get("/v1/me", headers=headers)
    _is_problem(response, status, code)
    assert response.headers["WWW-Authenticate"] == challenge


async def test_a_token_in_the_url_is_ignored(blog: httpx.AsyncClient, bearer: Any) -> None:
    token = bearer(uuid4())["Authorization"].removeprefix("Bearer ")
    response = await blog.get("/v1/me", params={"access_token": token})
    _is_problem(response, 401, "authentication_required")


async def test_anyone_can_read_a_user_without_their_email(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine
) -> None:
    """The public fields are id, status, version, sign-up time and profile."""
    state = a_state(version=3, roles=("admin",))
    await apply_events(blog_engine, state)

    response = await blog.get(f"/v1/users/{state.id}")

    assert response.status_code == 200
    assert response.json() == {
        "id": str(state.id),
        "status": "active",
        "version": 3,
        "created_at": "2026-01-01T12:00:00Z",
        "display_name": None,
        "bio": None,
        "avatar_url": None,
    }
    assert "@" not in response.text


@pytest.mark.parametrize("kind", ["unknown", "deleted"])
async def test_an_unknown_or_deleted_user_is_a_404(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, kind: str
) -> None:
    """The two cases look the same."""
    tombstone = a_tombstone()
    if kind == "deleted":
        await apply_events(blog_engine, tombstone)
    response = await blog.get(f"/v1/users/{tombstone.id}")
    _is_problem(response, 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/users/17", 422, "invalid_request"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/me", 405, "method_not_allowed"),
    ],
)
async def test_every_error_is_a_problem_document(
    blog: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await blog.request(method, path)
    _is_problem(response, status, code)


async def test_a_locked_table_is_a_503_with_retry_after(
    blog_url: str, public_pem: str, blog_engine: AsyncEngine, bearer: Any
) -> None:
    """A lock time-out says nothing about the user, so the response is not 401."""
    settings = ApiSettings(
        database_url=blog_url, public_key=public_pem, issuer=SOURCE, lock_timeout_ms=100
    )
    async with blog_api(settings) as blog, blog_engine.begin() as connection:
        await connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))

        response = await blog.get("/v1/me", headers=bearer(uuid4()))

    _is_problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0


async def test_probes_and_metrics_are_served(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    state = a_state(version=1)
    await apply_events(blog_engine, state)
    await blog.get("/v1/me", headers=bearer(state.id, user_version=9))

    responses = {path: await blog.get(path) for path in ("/livez", "/readyz", "/metrics")}

    assert {response.status_code for response in responses.values()} == {200}
    metrics = responses["/metrics"].text
    for name in (
        "usersync_inbox_messages_total",
        "usersync_end_to_end_latency_seconds",
        "usersync_parked_messages",
        "usersync_requests_behind_total",
        "http_requests_total",
        "process_cpu_seconds_total",
    ):
        assert f"# TYPE {name.removesuffix('_total')}" in metrics, name


async def test_a_request_ahead_of_the_replica_is_served_and_counted(
    blog: httpx.AsyncClient, blog_engine: AsyncEngine, bearer: Any
) -> None:
    """The token's ``user_version`` only feeds a metric; it never refuses or delays a request."""
    state = a_state(version=5)
    await apply_events(blog_engine, state)
    before = await _behind(blog)

    responses = [
        await blog.get("/v1/me", headers=bearer(state.id, user_version=version))
        for version in (4, 5, 6)
    ]

    assert {response.status_code for response in responses} == {200}
    assert await _behind(blog) == before + 1


def _is_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status
    assert response.headers["Content-Type"] == PROBLEM
    document = response.json()
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:usersync:problem:{code}"
    assert document["title"]


async def _behind(blog: httpx.AsyncClient) -> float:
    lines = (await blog.get("/metrics")).text.splitlines()
    [line] = [line for line in lines if line.startswith("usersync_requests_behind_total ")]
    return float(line.split()[1])
