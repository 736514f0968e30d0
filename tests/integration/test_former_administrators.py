"""A former administrator's requests that are under way have no effect."""

from typing import Any

import pytest

from tests.support.auth_api import AuthApi, assert_problem, made_admin
from tests.support.locks import after_waiting

EVE = "eve@example.org"


@pytest.mark.parametrize("loss", ["roles = '{}'", "status = 'disabled'"])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_request_that_waited_during_the_demotion_is_refused(
    api: AuthApi, method: str, loss: str
) -> None:
    """Otherwise a flood of them would restore the role in the moment of the demotion."""
    eve, bob = await api.sign_up(EVE), await api.sign_up("bob@example.org")
    await made_admin(api.engine, eve)
    target = eve if method == "PATCH" else bob
    body = {"roles": ["admin"], "status": "active"} if method == "PATCH" else None
    request = api.ask(eve, method, f"/v1/admin/users/{target['user']['id']}", body)
    demotion = f"UPDATE users SET {loss} WHERE id = '{eve['user']['id']}'"
    lock = "SELECT 1 FROM users FOR UPDATE"
    answer = await after_waiting(api.engine, request, lock, then=demotion)

    assert_problem(answer, 403, "forbidden")
    [after] = await api.fetch("SELECT roles, status FROM users WHERE email = 'eve@example.org'")
    assert (after.roles, after.status) != (["admin"], "active")
    assert (await api.me(bob)).status_code == 200


async def test_requests_about_services_are_refused_as_well(
    api: AuthApi, root: dict[str, Any]
) -> None:
    """A key issued at the last moment would be valid for months."""
    eve = await api.sign_up(EVE)
    await made_admin(api.engine, eve)
    service = {"name": "feeds", "scopes": ["posts:write"]}
    made = (await api.ask(root, "POST", "/v1/admin/services", service)).json()
    request = api.ask(eve, "POST", f"/v1/admin/services/{made['id']}/keys")
    demotion = f"UPDATE users SET roles = '{{}}' WHERE id = '{eve['user']['id']}'"
    lock = "SELECT 1 FROM service_accounts FOR UPDATE"
    answer = await after_waiting(api.engine, request, lock, then=demotion)

    assert_problem(answer, 403, "forbidden")
    assert len(await api.fetch("SELECT 1 FROM api_keys")) == 1
