"""A user at the highest possible version: only deletion is left, and it works."""

from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events import VERSION_MAX
from tests.support.auth_api import PASSWORD, assert_problem, bearer, signed_up
from tests.support.inbox import execute, fetch
from tests.support.relaying import outbox

Signed = dict[str, Any]


@pytest.fixture
async def last(api: httpx.AsyncClient, auth_engine: AsyncEngine) -> Signed:
    """A user whose version has no successor."""
    signed_in = await signed_up(api, "last@example.org")
    await execute(
        auth_engine,
        f"UPDATE users SET version = {VERSION_MAX} WHERE id = '{signed_in['user']['id']}'",
    )
    return signed_in


class TestChanging:
    """Refused with the right reason, and nothing changes."""

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("PATCH", "/v1/me", {"email": "next@example.org", "password": PASSWORD}),
            (
                "POST",
                "/v1/me/password",
                {"current_password": PASSWORD, "new_password": "another horse, another battery"},
            ),
            ("POST", "/v1/signout?scope=global", None),
        ],
    )
    async def test_the_refusal_is_not_a_taken_address(
        self,
        api: httpx.AsyncClient,
        auth_engine: AsyncEngine,
        last: Signed,
        method: str,
        path: str,
        body: dict[str, str] | None,
    ) -> None:
        """409 with a code of its own; the session stays."""
        before = await fetch(auth_engine, "SELECT * FROM users")
        answer = await api.request(method, path, json=body, headers=bearer(last))
        assert_problem(answer, 409, "versions_exhausted")
        assert await fetch(auth_engine, "SELECT * FROM users") == before
        assert (await api.get("/v1/me", headers=bearer(last))).status_code == 200

    async def test_an_administrator_gets_the_same_refusal(
        self, api: httpx.AsyncClient, root: Signed, last: Signed
    ) -> None:
        """They can still delete the account."""
        path = f"/v1/admin/users/{last['user']['id']}"
        refused = await api.patch(path, json={"status": "disabled"}, headers=bearer(root))
        deleted = await api.delete(path, headers=bearer(root))
        assert_problem(refused, 409, "versions_exhausted")
        assert deleted.status_code == 204

    async def test_a_reused_refresh_token_still_ends_its_session(
        self, api: httpx.AsyncClient, auth_engine: AsyncEngine, last: Signed
    ) -> None:
        """The session of a thief ends even though its event cannot be recorded."""
        for _ in range(3):
            answer = await api.post(
                "/oauth/token",
                data={"grant_type": "refresh_token", "refresh_token": last["refresh_token"]},
            )
            await execute(
                auth_engine, "UPDATE sessions SET refreshed_at = now() - interval '1 hour'"
            )

        [row] = await fetch(auth_engine, "SELECT end_reason FROM sessions")
        assert answer.status_code == 400
        assert row.end_reason == "token_reused"


class TestDeleting:
    """Always possible: a tombstone beats a living state of its own version."""

    async def test_the_tombstone_has_the_last_version(
        self, api: httpx.AsyncClient, auth_engine: AsyncEngine, last: Signed
    ) -> None:
        """In the row and in the event."""
        answer = await api.request(
            "DELETE", "/v1/me", json={"password": PASSWORD}, headers=bearer(last)
        )

        assert answer.status_code == 204, answer.text
        [row] = await fetch(auth_engine, "SELECT version, status, email FROM users")
        *_, event = await outbox(auth_engine)
        assert tuple(row) == (VERSION_MAX, "deleted", None)
        assert (event.type, event.version) == ("user.deleted", VERSION_MAX)
