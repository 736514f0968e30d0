"""A disabled user may erase their account: with an earlier token, or by e-mail and password."""

import pytest

from tests.support.auth_api import PASSWORD, AuthApi, Signed, assert_problem
from tests.support.relaying import outbox

CREDENTIALS = {"email": "ada@example.org", "password": PASSWORD}


@pytest.fixture
async def ada(api: AuthApi, root: Signed) -> Signed:
    signed_in = await api.sign_up(CREDENTIALS["email"])
    path = f"/v1/admin/users/{signed_in['user']['id']}"
    answer = await api.ask(root, "PATCH", path, {"status": "disabled"})
    assert answer.status_code == 200
    return signed_in


async def test_with_a_token_from_before(api: AuthApi, ada: Signed) -> None:
    """The password confirms it; for everything else the account stays disabled."""
    read = await api.me(ada)
    wrong = await api.delete_me(ada, "x")
    right = await api.delete_me(ada)
    again = await api.delete_me(ada)

    assert_problem(read, 403, "account_disabled")
    assert_problem(wrong, 403, "wrong_password")
    assert right.status_code == 204, right.text
    assert int(right.headers["User-Version"]) > ada["user"]["version"]
    assert_problem(again, 401, "invalid_token")
    await assert_erased(api, ada)


async def test_without_a_token(api: AuthApi, ada: Signed) -> None:
    """Nobody can sign in to a disabled account, so the credentials are enough."""
    signed_in = await api.sign_in()
    wrong = await api.post("/v1/deletion", json=CREDENTIALS | {"password": "x"})
    right = await api.post("/v1/deletion", json=CREDENTIALS | {"email": "Ada@Example.org"})
    again = await api.post("/v1/deletion", json=CREDENTIALS)

    assert_problem(signed_in, 403, "account_disabled")
    assert_problem(wrong, 401, "invalid_credentials")
    assert right.status_code == 204, right.text
    assert int(right.headers["User-Version"]) > ada["user"]["version"]
    assert_problem(again, 401, "invalid_credentials")
    await assert_erased(api, ada)


@pytest.mark.usefixtures("ada")
async def test_guessing_is_limited_as_at_the_sign_in(api: AuthApi) -> None:
    """Attempts of both count together. The last administrator stays."""
    last = await api.post("/v1/deletion", json=CREDENTIALS | {"email": "root@example.org"})
    assert_problem(last, 409, "last_administrator")
    for _ in range(5):
        await api.post("/v1/deletion", json=CREDENTIALS | {"password": "x"})
        answer = await api.sign_in(password="x")
    assert_problem(answer, 429, "too_many_requests")
    assert_problem(await api.post("/v1/deletion", json=CREDENTIALS), 429, "too_many_requests")


async def assert_erased(api: AuthApi, signed_in: Signed) -> None:
    user_id = signed_in["user"]["id"]
    [row] = await api.fetch(f"SELECT status, email FROM users WHERE id = '{user_id}'")
    *_, event = await outbox(api.engine)
    assert tuple(row) == ("deleted", None)
    assert (event.type, str(event.user_id)) == ("user.deleted", user_id)
