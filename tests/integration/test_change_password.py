"""A new password ends everything that the old one started, here and at the other service."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import ApiSettings
from blog_service.replica_of_users import USERS
from contracts.events import UserState
from service_kit.process.rates import Rate
from tests.support.auth_api import (
    PASSWORD,
    AuthApi,
    Signed,
    assert_problem,
    bearer,
    serving,
    statuses,
)
from tests.support.builders import SOURCE
from tests.support.eventually import eventually
from tests.support.relaying import outbox

ADA = {"email": "ada@example.org", "password": PASSWORD}
NEW = "staple battery horse correct"
COOKIE = "__Host-refresh"


@pytest.fixture
async def api(api_settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that can send mails and allows many password attempts."""
    names = ("limit_password", "limit_signup", "limit_signin", "limit_signin_failures")
    changes = {"mail_folder": "mail", "signin_failures_free": 100}
    changes |= dict.fromkeys(names, Rate(1_000, 60))
    async with serving(api_settings.model_copy(update=changes)) as client:
        yield client


@pytest.fixture
async def ada(api: AuthApi) -> Signed:
    return await api.sign_up()


class TestChange:
    """``POST /v1/me/password``."""

    async def test_it_answers_like_a_sign_in(self, api: AuthApi, ada: Signed) -> None:
        answer = await api.change_password(ada, NEW)

        body = answer.json()
        assert answer.status_code == 200
        assert body.keys() == ada.keys()
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
        assert body["user"]["version"] > ada["user"]["version"]
        assert (await api.me(body)).json() == body["user"]
        assert (await refresh(api, body["refresh_token"])).status_code == 200
        assert_problem(await api.sign_in(), 401, "invalid_credentials")
        assert (await api.sign_in(password=NEW)).status_code == 200

    async def test_it_ends_every_earlier_session(self, api: AuthApi, ada: Signed) -> None:
        """A request with the cookie gets the next refresh token as a cookie."""
        other = (await api.sign_in()).json()

        answer = await api.change_password(ada, NEW, Cookie=f"{COOKIE}={ada['refresh_token']}")

        assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=rt_")
        assert "refresh_token" not in answer.json()
        for session in (ada, other):
            assert_problem(await api.me(session), 401, "invalid_token")
            assert_problem(await refresh(api, session["refresh_token"]), 401, "session_ended")
        ended = await api.fetch("SELECT end_reason FROM sessions ORDER BY 1")
        assert ended == [("password_changed",), ("password_changed",), (None,)]

    async def test_it_is_recorded_audited_and_notified(
        self, api: AuthApi, ada: Signed, tmp_path: Path
    ) -> None:
        user_id = ada["user"]["id"]
        await api.execute("UPDATE users SET email_verified = true")

        def told() -> bool:
            # The first mail creates the folder.
            mails = (path.read_text() for path in tmp_path.glob("mail/*.eml"))
            return any("Your password was changed" in mail for mail in mails)

        await api.change_password(ada, NEW)

        [_, event] = await outbox(api.engine)
        [entry] = await api.fetch("SELECT * FROM audit_log WHERE action = 'authn_password_change'")
        assert event.type == "user.updated"
        assert event.payload["tokens_valid_after"] is not None
        assert (entry.actor, entry.subject, entry.details) == (f"user:{user_id}", user_id, None)
        assert "argon2" not in event.text
        assert await eventually(told)

    async def test_no_link_that_was_mailed_works_any_more(self, api: AuthApi, ada: Signed) -> None:
        """A reset that another person requested is cancelled; another user's is not."""
        bob = await api.sign_up("bob@example.org")
        await api.execute(
            "DELETE FROM mail_links",
            "INSERT INTO mail_links (token_hash, user_id, purpose, expires_at)"
            " SELECT decode(md5(email), 'hex'), id, 'reset_password', now() + interval '1 hour'"
            " FROM users",
        )

        await api.change_password(ada, NEW)

        links = await api.fetch("SELECT user_id FROM mail_links WHERE purpose = 'reset_password'")
        assert [str(row.user_id) for row in links] == [bob["user"]["id"]]

    async def test_it_can_be_refused(self, api: AuthApi, ada: Signed) -> None:
        before = await api.fetch("SELECT * FROM users")
        assert_problem(await api.change_password(ada, NEW, "wrong"), 403, "wrong_password")
        for weak in ("short", ADA["email"]):
            assert_problem(await api.change_password(ada, weak), 422, "weak_password")
        assert (await api.post("/v1/me/password", json={})).status_code in (401, 422)
        assert await api.fetch("SELECT * FROM users") == before
        assert (await refresh(api, ada["refresh_token"])).status_code == 200

    async def test_guessing_at_the_current_one_has_a_limit(self, api_settings: ApiSettings) -> None:
        """A stolen access token does not allow password guesses, on any of the routes."""
        settings = api_settings.model_copy(update={"limit_password": Rate(3, 3600)})
        async with serving(settings) as api:
            ada = await api.sign_up()
            wrong = (
                api.change_password(ada, NEW, "wrong"),
                api.change_address(ada, ADA["email"], "wrong"),
                api.delete_me(ada, "wrong"),
            )
            assert await statuses(*wrong) == [403] * 3
            assert_problem(await api.change_password(ada, NEW), 429, "too_many_requests")


async def test_no_sign_in_with_the_old_password_survives_its_change(
    api: AuthApi, ada: Signed
) -> None:
    for n in range(4):
        old, new = (PASSWORD, NEW) if n % 2 == 0 else (NEW, PASSWORD)
        changed, *answers = await asyncio.gather(
            api.change_password(ada, new, old), *(api.sign_in(password=old) for _ in range(6))
        )

        assert changed.status_code == 200
        assert {answer.status_code for answer in answers} <= {200, 401}
        for answer in answers:
            if answer.status_code == 200:
                assert_problem(await api.me(answer.json()), 401, "invalid_token")
                refused = await refresh(api, answer.json()["refresh_token"])
                assert_problem(refused, 401, "session_ended")
        ada = changed.json()
        assert (await api.me(ada)).status_code == 200


class TestWholeSeconds:
    """``iat`` has whole seconds, and a stolen token must not outlive a revocation in its second."""

    async def test_in_any_part_of_a_second_the_old_token_is_refused_and_the_new_one_valid(
        self, api: AuthApi, blog: httpx.AsyncClient, blog_engine: AsyncEngine
    ) -> None:
        """Here at once, and at the blog as soon as its replica has the event."""
        tenths: set[int] = set()
        for n in range(100):
            # The latest possible token: of this moment.
            youngest = await api.sign_up(f"user{n}@example.org")
            await replicate(api.engine, blog_engine)
            assert (await blog.get("/v1/me", headers=bearer(youngest))).status_code == 200

            changed = await api.change_password(youngest, NEW)
            changed_at = await replicate(api.engine, blog_engine)

            tenths.add(changed_at.microsecond // 100_000)
            await assert_replaced(youngest, changed.json(), api, blog)
            if len(tenths) >= 8:
                return
        pytest.fail(f"the changes met only these tenths of a second: {sorted(tenths)}")

    async def test_changes_within_a_second_revoke_each_others_tokens(
        self, api: AuthApi, blog: httpx.AsyncClient, ada: Signed, blog_engine: AsyncEngine
    ) -> None:
        """A token in between has the last change's second, so the next change goes beyond it."""
        present, passwords = ada, [PASSWORD, NEW] * 2
        for current, new in pairwise(passwords):
            changed = await api.change_password(present, new, current)
            await replicate(api.engine, blog_engine)
            await assert_replaced(present, changed.json(), api, blog)
            present = changed.json()

    async def test_no_token_is_issued_for_the_future(self, api: AuthApi, ada: Signed) -> None:
        """After many revocations in a second the response waits: the leeway is for clocks."""
        later = "date_trunc('second', clock_timestamp()) + '3s'"
        await api.execute(f"UPDATE users SET tokens_valid_after = {later}")
        token = (await api.sign_in(ada["user"]["email"])).json()["access_token"]
        issued_at = jwt.decode(token, options={"verify_signature": False})["iat"]
        assert issued_at <= time.time() + 1


async def assert_replaced(old: Signed, new: Signed, *services: httpx.AsyncClient) -> None:
    """Each service refuses the old access token and accepts the new one."""
    for service in services:
        asked = (service.get("/v1/me", headers=bearer(each)) for each in (old, new))
        assert await statuses(*asked) == [401, 200]


async def refresh(api: AuthApi, token: str) -> httpx.Response:
    """Refresh a session from a page of the service's own origin."""
    headers = {"Cookie": f"{COOKIE}={token}", "Origin": SOURCE}
    return await api.post("/v1/session/refresh", headers=headers)


async def replicate(source: AsyncEngine, target: AsyncEngine) -> Any:
    """Apply the last event to the blog's replica, as its consumer would; return its time."""
    *_, event = await outbox(source)
    async with target.begin() as connection:
        await USERS.write(connection, [UserState.model_validate_json(event.text)])
    return event.occurred_at
