"""A disabled user may erase their account: with an earlier token, or by e-mail and password."""

from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.auth_api import PASSWORD, assert_problem, bearer, signed_up
from tests.support.inbox import fetch
from tests.support.relaying import outbox

Signed = dict[str, Any]

CREDENTIALS = {"email": "ada@example.org", "password": PASSWORD}


@pytest.fixture
async def ada(api: httpx.AsyncClient, root: Signed) -> Signed:
    signed_in = await signed_up(api, CREDENTIALS["email"])
    path = f"/v1/admin/users/{signed_in['user']['id']}"
    answer = await api.patch(path, json={"status": "disabled"}, headers=bearer(root))
    assert answer.status_code == 200
    return signed_in


async def test_with_a_token_from_before(
    api: httpx.AsyncClient, auth_engine: AsyncEngine, ada: Signed
) -> None:
    """The password confirms it; for everything else the account stays disabled."""
    read = await api.get("/v1/me", headers=bearer(ada))
    wrong = await api.request("DELETE", "/v1/me", json={"password": "x"}, headers=bearer(ada))
    right = await api.request("DELETE", "/v1/me", json={"password": PASSWORD}, headers=bearer(ada))
    again = await api.request("DELETE", "/v1/me", json={"password": PASSWORD}, headers=bearer(ada))

    assert_problem(read, 403, "account_disabled")
    assert_problem(wrong, 403, "wrong_password")
    assert right.status_code == 204, right.text
    assert_problem(again, 401, "invalid_token")
    await assert_erased(auth_engine, ada)


async def test_without_a_token(
    api: httpx.AsyncClient, auth_engine: AsyncEngine, ada: Signed
) -> None:
    """Nobody can sign in to a disabled account, so the credentials are enough."""
    signed_in = await api.post("/v1/signin", json=CREDENTIALS)
    wrong = await api.post("/v1/deletion", json=CREDENTIALS | {"password": "x"})
    right = await api.post("/v1/deletion", json=CREDENTIALS | {"email": "Ada@Example.org"})
    again = await api.post("/v1/deletion", json=CREDENTIALS)

    assert_problem(signed_in, 403, "account_disabled")
    assert_problem(wrong, 401, "invalid_credentials")
    assert right.status_code == 204, right.text
    assert_problem(again, 401, "invalid_credentials")
    await assert_erased(auth_engine, ada)


async def test_guessing_is_limited_as_at_the_sign_in(api: httpx.AsyncClient, ada: Signed) -> None:
    """Attempts of both count together."""
    wrong = CREDENTIALS | {"password": "x"}
    answers = [
        await api.post(path, json=wrong)
        for _ in range(5)
        for path in ("/v1/deletion", "/v1/signin")
    ]

    assert ada
    assert_problem(answers[-1], 429, "too_many_requests")
    assert_problem(await api.post("/v1/deletion", json=CREDENTIALS), 429, "too_many_requests")


async def test_the_last_administrator_stays(api: httpx.AsyncClient, root: Signed) -> None:
    answer = await api.post("/v1/deletion", json=CREDENTIALS | {"email": "root@example.org"})
    assert root
    assert_problem(answer, 409, "last_administrator")


async def assert_erased(engine: AsyncEngine, signed_in: Signed) -> None:
    """Only a tombstone is left, and its event is recorded."""
    user_id = signed_in["user"]["id"]
    [row] = await fetch(engine, f"SELECT status, email FROM users WHERE id = '{user_id}'")
    *_, event = await outbox(engine)
    assert tuple(row) == ("deleted", None)
    assert (event.type, str(event.user_id)) == ("user.deleted", user_id)
