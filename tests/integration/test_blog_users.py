"""The blog's API decides by the token and the replica's row who is calling, on every request."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text

from tests.support.auth_api import assert_problem
from tests.support.blog_api import metric
from tests.support.builders import NOON, a_state, a_tombstone
from tests.support.content import People, people_of

REALM = 'Bearer realm="usersync"'


async def me(people: People, who: UUID | str, **claims: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {people.token(who, **claims)}"}
    return await people.client.get("/v1/me", headers=headers)


async def test_me_returns_the_replicas_row(people: People) -> None:
    state = a_state(version=7, email_verified=True, roles=("moderator", "editor"))
    await people.apply(state)

    response = await me(people, state.id)

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


async def test_a_disabled_user_gets_403(people: People) -> None:
    """Until the account is enabled again.

    Disabling also moves ``tokens_valid_after``; 401 would only make the user sign in again.
    """
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    for valid_after in (None, later):
        user_id = await people.user(status="disabled", tokens_valid_after=valid_after)
        assert_problem(await me(people, user_id), 403, "account_disabled")
        await people.apply(a_state(user_id, 2))
        assert (await me(people, user_id)).status_code == 200


async def test_tokens_issued_before_the_cutoff_are_refused(people: People) -> None:
    """``tokens_valid_after`` refuses tokens issued before that second, and no others."""
    valid_after = datetime.fromtimestamp(int(time.time()) - 10, UTC)
    for seconds, status in [(-1, 401), (0, 200), (1, 200)]:
        user_id, iat = await people.user(), int(valid_after.timestamp()) + seconds
        before = await me(people, user_id, iat=iat)
        await people.apply(a_state(user_id, 2, tokens_valid_after=valid_after))
        after = await me(people, user_id, iat=iat)
        assert (before.status_code, after.status_code) == (200, status)
        if status == 401:
            assert_problem(after, 401, "invalid_token")
            assert 'error="invalid_token"' in after.headers["WWW-Authenticate"]


async def test_a_token_issued_in_the_next_second_is_accepted(people: People) -> None:
    """Right after a cutoff ``iat`` is one second ahead; the leeway of the verifier covers it."""
    valid_after = datetime.fromtimestamp(int(time.time()) + 1, UTC)
    user_id = await people.user(tokens_valid_after=valid_after)
    response = await me(people, user_id, iat=int(valid_after.timestamp()))
    assert response.status_code == 200


async def test_a_request_without_a_valid_token_is_challenged(people: People) -> None:
    """A token in the URL is none: URLs end up in logs."""
    in_the_url = {"access_token": people.token(uuid4())}
    headers: Any
    two = [("Authorization", f"Bearer {token}") for token in "ab"]
    for headers, params, status, code, error in [
        ({}, {}, 401, "authentication_required", ""),
        ({}, in_the_url, 401, "authentication_required", ""),
        ({"Authorization": "Basic YTpi"}, {}, 401, "authentication_required", ""),
        ({"Authorization": "Bearer not.a.token"}, {}, 401, "invalid_token", "invalid_token"),
        (two, {}, 400, "two_credentials", "invalid_request"),
    ]:
        response = await people.client.get("/v1/me", headers=headers, params=params)
        assert_problem(response, status, code)
        challenge = f'{REALM}, error="{error}"' if error else REALM
        assert response.headers["WWW-Authenticate"] == challenge


async def test_every_error_is_a_problem_document(people: People) -> None:
    """Including those of the framework; unknown and deleted users look the same."""
    tombstone = a_tombstone()
    await people.apply(tombstone)
    for method, path, status, code in [
        ("GET", "/v1/users/17", 422, "invalid_request"),
        ("GET", f"/v1/users/{uuid4()}", 404, "not_found"),
        ("GET", f"/v1/users/{tombstone.id}", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/me", 405, "method_not_allowed"),
    ]:
        problem = assert_problem(await people.ask(None, method, path), status, code)
        assert problem["type"] == f"urn:usersync:problem:{code}"
        assert problem["title"]


async def test_a_locked_table_is_a_503_with_retry_after(people: People) -> None:
    """A lock time-out says nothing about the user, so the response is not 401."""
    impatient = people.settings.model_copy(update={"lock_timeout_ms": 100})
    async with people_of(impatient, people.key) as others, people.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        response = await me(others, uuid4())
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0


async def test_probes_and_metrics_are_served(people: People) -> None:
    await me(people, await people.user(version=1), user_version=9)

    responses = {path: await people.client.get(path) for path in ("/livez", "/readyz", "/metrics")}

    assert {response.status_code for response in responses.values()} == {200}
    for name in (
        "usersync_inbox_messages_total",
        "usersync_end_to_end_latency_seconds",
        "usersync_parked_messages",
        "usersync_requests_behind_total",
        "http_requests_total",
        "process_cpu_seconds_total",
    ):
        assert f"# TYPE {name.removesuffix('_total')}" in responses["/metrics"].text, name


async def test_a_request_ahead_of_the_replica_is_served_and_counted(people: People) -> None:
    """The token's ``user_version`` only feeds a metric; it never refuses or delays a request."""

    async def behind() -> float:
        text = (await people.client.get("/metrics")).text
        return metric(text, "usersync_requests_behind_total")

    user_id, before = await people.user(version=5), await behind()
    responses = [await me(people, user_id, user_version=version) for version in (4, 5, 6)]
    assert {response.status_code for response in responses} == {200}
    assert await behind() == before + 1
