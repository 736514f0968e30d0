"""A former administrator's requests that are under way have no effect."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.auth_api import AuthApi, assert_problem, bearer, made_admin, signed_up
from tests.support.eventually import eventually
from tests.support.locks import lock_waits

EVE = "eve@example.org"


@pytest.mark.parametrize("loss", ["roles = '{}'", "status = 'disabled'"])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_request_that_waited_during_the_demotion_is_refused(
    api: AuthApi, method: str, loss: str
) -> None:
    """Otherwise a flood of them would restore the role in the moment of the demotion."""
    eve, bob = await signed_up(api, EVE), await signed_up(api, "bob@example.org")
    await made_admin(api.engine, eve)
    target = eve if method == "PATCH" else bob
    async with api.engine.begin() as demoting:
        for user in (eve, bob):
            lock = text("SELECT 1 FROM users WHERE id = :id FOR UPDATE")
            await demoting.execute(lock, {"id": user["user"]["id"]})
        waiting = asyncio.create_task(
            api.request(
                method,
                f"/v1/admin/users/{target['user']['id']}",
                headers=bearer(eve),
                json={"roles": ["admin"], "status": "active"} if method == "PATCH" else None,
            )
        )
        await eventually(lambda: lock_waits(api.engine))
        await demoting.execute(
            text(f"UPDATE users SET {loss} WHERE id = :id"), {"id": eve["user"]["id"]}
        )

    assert_problem(await waiting, 403, "forbidden")
    [after] = await api.fetch("SELECT roles, status FROM users WHERE email = 'eve@example.org'")
    assert (after.roles, after.status) != (["admin"], "active")
    assert (await api.me(bob)).status_code == 200


async def test_requests_about_services_are_refused_as_well(
    api: AuthApi, root: dict[str, Any]
) -> None:
    """A key issued at the last moment would be valid for months."""
    eve = await signed_up(api, EVE)
    await made_admin(api.engine, eve)
    made = await api.post(
        "/v1/admin/services",
        headers=bearer(root),
        json={"name": "feeds", "scopes": ["posts:write"]},
    )
    service = made.json()["id"]
    async with api.engine.begin() as demoting:
        await demoting.execute(text("SELECT 1 FROM service_accounts FOR UPDATE"))
        waiting = asyncio.create_task(
            api.post(f"/v1/admin/services/{service}/keys", headers=bearer(eve))
        )
        await eventually(lambda: lock_waits(api.engine))
        await demoting.execute(
            text("UPDATE users SET roles = '{}' WHERE id = :id"), {"id": eve["user"]["id"]}
        )

    assert_problem(await waiting, 403, "forbidden")
    assert len(await api.fetch("SELECT 1 FROM api_keys")) == 1
