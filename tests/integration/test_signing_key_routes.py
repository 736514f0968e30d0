"""Administrators see and change the signing keys over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from auth_service.settings import ApiSettings
from tests.support.auth_api import AuthApi, Signed, assert_problem, made_admin, serving
from tests.support.in_turn import in_turn
from tests.support.locks import after_waiting

KEYS = "/v1/admin/keys"
UNKNOWN = f"{KEYS}/{'A' * 43}"


@pytest.fixture
async def api(api_settings: ApiSettings) -> AsyncIterator[AuthApi]:
    """An API whose new keys may sign at once."""
    async with serving(api_settings.model_copy(update={"key_wait_seconds": 0})) as client:
        yield client


@pytest.fixture
async def root(api: AuthApi) -> Signed:
    signed_in = await api.sign_up("root@example.org")
    await made_admin(api.engine, signed_in)
    return signed_in


async def states(api: AuthApi, root: Signed) -> list[str]:
    return [key["state"] for key in (await api.ask(root, "GET", KEYS)).json()["items"]]


@in_turn(
    ("method", "path", "body"),
    [("GET", KEYS, None), ("POST", KEYS, None), ("PATCH", UNKNOWN, {"state": "revoked"})],
)
async def test_nobody_else(api: AuthApi, method: str, path: str, body: Any) -> None:
    """Nor an operator."""
    ada = await api.sign_up(f"{method}@example.org".lower())
    await api.execute(f"UPDATE users SET roles = '{{operator}}' WHERE id = '{ada['user']['id']}'")
    assert_problem(await api.ask(None, method, path, body), 401, "authentication_required")
    assert_problem(await api.ask(ada, method, path, body), 403, "forbidden")


async def test_a_rotation_from_generation_to_revocation(api: AuthApi, root: Signed) -> None:
    """Each step is audited with its administrator; nothing private is shown."""
    made = await api.ask(root, "POST", KEYS)
    kid = made.json()["kid"]
    assert (made.status_code, made.json()["state"]) == (201, "pending")
    assert "sealed" not in made.text
    path = f"{KEYS}/{kid}"
    active = await api.ask(root, "PATCH", path, {"state": "active"})
    assert (active.status_code, active.json()["state"]) == (200, "active")
    assert await states(api, root) == ["retired", "active"]
    again = await api.ask(root, "PATCH", path, {"state": "active"})
    assert again.json() == active.json()

    withdrawn = (await api.ask(root, "POST", KEYS)).json()["kid"]
    await api.ask(root, "PATCH", f"{KEYS}/{withdrawn}", {"state": "retired"})
    revoked = await api.ask(root, "PATCH", path, {"state": "revoked"})
    assert revoked.json()["state"] == "revoked"
    assert await states(api, root) == ["retired", "revoked", "retired", "active"]

    done = await api.fetch(
        f"SELECT action FROM audit_log WHERE actor = 'user:{root['user']['id']}' ORDER BY id"
    )
    assert [row.action for row in done] == [
        *("key_generated", "key_retired", "key_activated"),
        *("key_generated", "key_retired"),
        *("key_revoked", "key_generated", "key_activated"),
    ]


async def test_what_the_keys_do_not_allow_is_refused_with_the_reason(
    api: AuthApi, root: Signed
) -> None:
    [active] = (await api.ask(root, "GET", KEYS)).json()["items"]
    refused = await api.ask(root, "PATCH", f"{KEYS}/{active['kid']}", {"state": "retired"})
    problem = assert_problem(refused, 409, "key_change_refused")
    assert "is the active key" in problem["detail"]
    assert_problem(await api.ask(root, "PATCH", UNKNOWN, {"state": "active"}), 404, "not_found")
    for path, body in ((UNKNOWN, {"state": "pending"}), (f"{KEYS}/A", {"state": "active"})):
        assert_problem(await api.ask(root, "PATCH", path, body), 422, "invalid_request")


async def test_a_key_that_verifiers_may_not_have_does_not_sign(
    api_settings: ApiSettings, root: Signed
) -> None:
    """There is no way around the wait but the command."""
    async with serving(api_settings) as patient:
        kid = (await patient.ask(root, "POST", KEYS)).json()["kid"]
        early = await patient.ask(root, "PATCH", f"{KEYS}/{kid}", {"state": "active"})
        assert_problem(early, 409, "key_change_refused")
        forced = {"state": "active", "force": True}
        assert_problem(
            await patient.ask(root, "PATCH", f"{KEYS}/{kid}", forced), 422, "invalid_request"
        )
        assert await states(patient, root) == ["active", "pending"]


async def test_an_administrator_demoted_meanwhile_changes_nothing(
    api: AuthApi, root: Signed
) -> None:
    """The role counts under the lock of the keys, not when the request came."""
    [key] = (await api.ask(root, "GET", KEYS)).json()["items"]
    lock = "SELECT pg_advisory_xact_lock(x'7369676E6B657973'::bigint)"
    demoted = "UPDATE users SET roles = '{}'"
    path = f"{KEYS}/{key['kid']}"
    revoke = api.ask(root, "PATCH", path, {"state": "revoked"})
    answer = await after_waiting(api.engine, revoke, lock, then=demoted)
    assert_problem(answer, 403, "forbidden")
    await api.execute("UPDATE users SET roles = '{admin}'")
    assert await states(api, root) == ["active"]
