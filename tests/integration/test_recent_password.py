"""Sensitive acts of administrators need a password that was given a short time ago."""

from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import pytest
from structlog.testing import capture_logs

from auth_service.sessions.recent_password import RECENT_SECONDS, is_recent
from tests.support.auth_api import NEW_PASSWORD, PASSWORD, AuthApi, Signed, assert_problem, statuses
from tests.support.locks import after_waiting
from tests.support.log_ids import assert_has_ids

CONFIRM = "/v1/session/confirm"
NOBODY = "00000000-0000-4000-8000-000000000000"
SERVICE = "/v1/admin/services/svc_0000000000000000"

SENSITIVE: tuple[tuple[str, str, Any], ...] = (
    ("PATCH", f"/v1/admin/users/{NOBODY}", {"roles": ["admin"]}),
    ("DELETE", f"/v1/admin/users/{NOBODY}", None),
    ("POST", "/v1/admin/services", {"name": "feed", "scopes": ["posts:write"]}),
    ("PATCH", SERVICE, {"status": "disabled"}),
    ("DELETE", SERVICE, None),
    ("POST", f"{SERVICE}/keys", None),
    ("DELETE", f"{SERVICE}/keys/000000000000", None),
    ("POST", "/v1/admin/keys", None),
    ("PATCH", f"/v1/admin/keys/{'A' * 43}", {"state": "revoked"}),
)
"""Each request that changes what other people, services or verifiers may do."""

OPEN = ("/v1/admin/users", "/v1/admin/services", "/v1/admin/keys", "/v1/admin/audit")
"""What an administrator may look at without their password."""


@dataclass
class Desk:
    """An administrator whose password was given longer ago than sensitive acts allow."""

    api: AuthApi
    root: Signed

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.api.ask(self.root, method, path, body)

    async def confirm(self, password: str = PASSWORD) -> httpx.Response:
        """Confirm the password; later requests use the new token."""
        answer = await self.ask("POST", CONFIRM, {"password": password})
        if answer.status_code == 200:
            self.root = self.root | answer.json()
        return answer

    async def refresh(self) -> None:
        self.root = self.root | (await self.api.refresh(self.root["refresh_token"])).json()

    @property
    def claims(self) -> dict[str, Any]:
        return claims_of(self.root)

    async def acted(self) -> list[int]:
        return await statuses(*(self.ask(*each) for each in SENSITIVE))


def claims_of(signed_in: Signed) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(
        signed_in["access_token"], options={"verify_signature": False}
    )
    return found


@pytest.fixture
async def desk(api: AuthApi, root: Signed) -> Desk:
    await api.execute(
        f"UPDATE sessions SET created_at = created_at - interval '{RECENT_SECONDS + 1} seconds'"
    )
    desk = Desk(api, root)
    await desk.refresh()
    return desk


@pytest.mark.parametrize(("age", "expected"), [(0, True), (599.9, True), (600, False)])
def test_ten_minutes_count(age: float, expected: bool) -> None:
    assert is_recent(1_000_000, now=1_000_000 + age) is expected


def test_a_token_that_does_not_say_when_is_not_recent() -> None:
    """Such as one of the last release."""
    assert not is_recent(None, now=0.0)


class TestWithoutARecentPassword:
    """The token is valid, and the role is there."""

    async def test_each_sensitive_act_asks_for_the_password_and_does_nothing(
        self, desk: Desk
    ) -> None:
        """In the way that RFC 9470 describes; a look at things needs no password."""
        before = await everything(desk.api)
        for method, path, body in SENSITIVE:
            answer = await desk.ask(method, path, body)
            assert_problem(answer, 401, "insufficient_user_authentication")
            challenge = answer.headers["WWW-Authenticate"]
            assert challenge.startswith("Bearer realm=")
            assert 'error="insufficient_user_authentication"' in challenge
            assert challenge.endswith('max_age="600"')
        assert await everything(desk.api) == before
        assert set(await statuses(*(desk.ask("GET", path) for path in OPEN))) == {200}

    async def test_the_role_comes_first(self, desk: Desk) -> None:
        """Others learn nothing about passwords, and a service's token never gets so far."""
        ada = await desk.api.sign_up()
        for method, path, body in SENSITIVE:
            assert_problem(await desk.api.ask(ada, method, path, body), 403, "forbidden")
        service = await desk.api.create_service("feed", "posts:write")
        token = (await desk.api.service_token(service)).json()
        for method, path, body in SENSITIVE:
            assert_problem(await desk.api.ask(token, method, path, body), 403, "user_required")

    async def test_no_refresh_makes_it_recent(self, desk: Desk) -> None:
        before = desk.claims["auth_time"]
        await desk.refresh()
        assert desk.claims["auth_time"] == before
        assert set(await desk.acted()) == {401}


class TestConfirming:
    """``POST /v1/session/confirm``."""

    async def test_the_password_makes_the_session_recent(self, desk: Desk) -> None:
        """Its later tokens say so too, and the earlier token does not profit."""
        old = desk.root
        with capture_logs() as lines:
            answer = await desk.confirm()
        assert_has_ids(lines, "authn_confirm_success", user_id=old["user"]["id"])
        assert answer.json().keys() == {"access_token", "token_type", "expires_in"}
        assert answer.headers["Cache-Control"] == "no-store"
        assert desk.claims["sid"] == claims_of(old)["sid"]
        assert desk.claims["auth_time"] == desk.claims["iat"] > claims_of(old)["auth_time"]
        assert set(await desk.acted()) == {201, 404}
        confirmed = desk.claims["auth_time"]
        await desk.refresh()
        assert desk.claims["auth_time"] == confirmed
        created = await desk.ask("DELETE", SENSITIVE[1][1])
        assert_problem(created, 404, "not_found")
        stale = await desk.api.ask(old, "DELETE", SENSITIVE[1][1])
        assert_problem(stale, 401, "insufficient_user_authentication")

    async def test_a_wrong_password_confirms_nothing_and_the_attempts_are_few(
        self, desk: Desk
    ) -> None:
        """They are the attempts of everything that a password confirms, so five in all."""
        with capture_logs() as lines:
            for _ in range(4):
                assert_problem(await desk.confirm("not the password"), 403, "wrong_password")
        assert_has_ids(lines, "authn_confirm_fail", user_id=desk.root["user"]["id"])
        wrong = {"current_password": "not the password", "new_password": NEW_PASSWORD}
        assert_problem(await desk.ask("POST", "/v1/me/password", wrong), 403, "wrong_password")
        assert_problem(await desk.confirm(), 429, "too_many_requests")
        assert set(await desk.acted()) == {401}

    async def test_nobody_confirms_without_a_session_of_an_active_user(self, desk: Desk) -> None:
        body = {"password": PASSWORD}
        assert_problem(
            await desk.api.ask(None, "POST", CONFIRM, body), 401, "authentication_required"
        )
        service = await desk.api.create_service("feed", "posts:write")
        token = (await desk.api.service_token(service)).json()
        assert_problem(await desk.api.ask(token, "POST", CONFIRM, body), 403, "user_required")
        ada = await desk.api.sign_up()
        await desk.api.execute(
            f"UPDATE users SET status = 'disabled' WHERE id = '{ada['user']['id']}'"
        )
        assert_problem(await desk.api.ask(ada, "POST", CONFIRM, body), 403, "account_disabled")
        await desk.ask("POST", "/v1/signout")
        assert_problem(await desk.confirm(), 401, "invalid_token")

    async def test_what_happens_meanwhile_counts(self, desk: Desk) -> None:
        """A session that ends and a password that changes, while the request waits for the row."""
        lock = "UPDATE users SET roles = roles"
        ended = "UPDATE sessions SET ended_at = now(), end_reason = 'revoked'"
        changed = "UPDATE users SET password_hash = 'another'"
        engine = desk.api.engine
        for then, status, code in ((ended, 401, "invalid_token"), (changed, 403, "wrong_password")):
            await desk.api.execute("UPDATE sessions SET ended_at = NULL, end_reason = NULL")
            answer = await after_waiting(engine, desk.confirm(), lock, then=then)
            assert_problem(answer, status, code)


async def everything(api: AuthApi) -> list[Any]:
    """What the sensitive acts could change, and what would be recorded of them."""
    tables = ("users", "service_accounts", "api_keys", "signing_keys", "audit_log", "outbox_events")
    return [await api.fetch(f"SELECT count(*), max(xmin::text) FROM {table}") for table in tables]
