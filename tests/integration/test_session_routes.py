"""Sessions over HTTP: the refresh cookie, signing out, and the list of one's own."""

import asyncio
import json
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import PASSWORD, assert_problem, bearer, serving, signed_up
from tests.support.builders import SOURCE
from tests.support.in_turn import in_turn
from tests.support.inbox import execute, fetch
from tests.support.relaying import outbox

ADA = {"email": "ada@example.org", "password": PASSWORD}
PAGE = "https://blog.example"
COOKIE = "__Host-refresh"
FLAGS = ("Path=/", "Secure", "HttpOnly", "SameSite=Strict")
BODY = {"user", "access_token", "token_type", "expires_in"}


@pytest.fixture
async def api(api_settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that allows pages of one other origin."""
    async with serving(api_settings.model_copy(update={"cors_origins": (PAGE,)})) as client:
        yield client


@pytest.fixture
async def ada(api: httpx.AsyncClient) -> dict[str, Any]:
    return await signed_up(api, ADA["email"])


class TestRefreshToken:
    async def test_it_is_in_the_body_unless_a_cookie_is_asked_for(
        self, api: httpx.AsyncClient
    ) -> None:
        """Sign-up and sign-in, each with a token of its session."""
        up = await api.post("/v1/signup", json=ADA)
        again = await api.post("/v1/signin", json={**ADA, "session": "token"})

        for answer in (up, again):
            assert answer.json().keys() == BODY | {"refresh_token"}
            assert answer.json()["refresh_token"].startswith("rt_")
            assert "Set-Cookie" not in answer.headers
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Pragma"] == "no-cache"
            assert answer.headers["RateLimit"]
        assert up.json()["refresh_token"] != again.json()["refresh_token"]

    @pytest.mark.parametrize("path", ["/v1/signup", "/v1/signin"])
    async def test_it_is_in_a_cookie_and_nowhere_else(
        self, api: httpx.AsyncClient, path: str
    ) -> None:
        """Out of reach of scripts, other hosts and pages of other sites, until it is idle."""
        if path == "/v1/signin":
            await signed_up(api, ADA["email"])

        answer = await api.post(path, json={**ADA, "session": "cookie"})

        assert answer.json().keys() == BODY
        [header] = answer.headers.get_list("Set-Cookie")
        name_and_token, *attributes = header.split("; ")
        assert name_and_token.startswith(f"{COOKIE}=rt_")
        assert set(attributes) == {*FLAGS, f"Max-Age={14 * 86_400}"}

    @pytest.mark.parametrize(
        "media_type",
        [
            None,
            "",
            "text/plain",
            "text/plain;application/json",
            "application/x-www-form-urlencoded",
        ],
    )
    async def test_no_page_of_another_origin_signs_its_visitor_in(
        self, api: httpx.AsyncClient, media_type: str | None
    ) -> None:
        """Requests that browsers send without a preflight are refused, and so are preflights."""
        await signed_up(api, ADA["email"])
        headers = {"Origin": "https://evil.example"}
        sent = headers if media_type is None else {**headers, "Content-Type": media_type}
        asks = {**headers, "Access-Control-Request-Method": "POST"}

        answer = await api.post(
            "/v1/signin", content=json.dumps({**ADA, "session": "cookie"}), headers=sent
        )
        asked = await api.options(
            "/v1/signin", headers={**asks, "Access-Control-Request-Headers": "content-type"}
        )

        assert_problem(answer, 422, "invalid_request")
        assert "Set-Cookie" not in answer.headers
        assert "Access-Control-Allow-Origin" not in asked.headers

    async def test_an_unknown_storage_is_refused(self, api: httpx.AsyncClient) -> None:
        answer = await api.post("/v1/signup", json={**ADA, "session": "both"})
        assert_problem(answer, 422, "invalid_request")

    async def test_sign_ups_from_one_network_have_a_limit(self, api_settings: ApiSettings) -> None:
        """429 before the password is hashed."""
        settings = api_settings.model_copy(update={"limit_signup": Rate(1, 3600)})
        async with serving(settings) as api:
            await signed_up(api, ADA["email"])
            refused = await api.post("/v1/signup", json={**ADA, "email": "bob@example.org"})
        assert_problem(refused, 429, "too_many_requests")
        assert refused.json()["violated-policies"] == ["signup"]


class TestRefresh:
    """``POST /v1/session/refresh``."""

    @pytest.mark.parametrize("origin", [SOURCE, PAGE])
    async def test_a_page_gets_an_access_token_and_the_next_cookie(
        self, api: httpx.AsyncClient, ada: dict[str, Any], origin: str
    ) -> None:
        """From this service's own origin and from allowed ones."""
        answer = await refresh(api, ada["refresh_token"], Origin=origin)

        child = cookie_of(answer)
        assert answer.status_code == 200
        assert answer.json().keys() == BODY
        assert answer.json()["user"] == ada["user"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Pragma"] == "no-cache"
        assert answer.headers["RateLimit-Policy"].startswith('"refresh"')
        assert child.startswith("rt_")
        assert child != ada["refresh_token"]
        assert (await api.get("/v1/me", headers=bearer(answer.json()))).status_code == 200
        assert (await refresh(api, child, Origin=origin)).status_code == 200

    @in_turn(
        "origin",
        [
            None,
            "",
            "null",
            "*",
            "https://evil.example",
            f"{PAGE}.evil.example",
            f"{PAGE}:444",
            f"{PAGE}/",
            PAGE.replace("https", "http"),
            f"{PAGE}, https://evil.example",
        ],
    )
    async def test_no_other_page_may(
        self,
        api: httpx.AsyncClient,
        ada: dict[str, Any],
        auth_engine: AsyncEngine,
        origin: str | None,
    ) -> None:
        """403 without reading the cookie, which stays valid."""
        headers = {} if origin is None else {"Origin": origin}
        answer = await refresh(api, ada["refresh_token"], **headers)
        [row] = await fetch(auth_engine, "SELECT counter FROM sessions")
        assert_problem(answer, 403, "origin_not_allowed")
        assert "Set-Cookie" not in answer.headers
        assert row.counter == 0

    async def test_an_ended_session_clears_the_cookie(
        self, api: httpx.AsyncClient, ada: dict[str, Any]
    ) -> None:
        assert (await api.post("/v1/signout", headers=bearer(ada))).status_code == 204

        answers = [
            await refresh(api, token, Origin=PAGE) for token in (ada["refresh_token"], "x", None)
        ]

        for answer in answers:
            assert_problem(answer, 401, "session_ended")
            assert_clears(answer)
        assert len({answer.json()["title"] for answer in answers}) == 1

    async def test_a_similar_cookie_is_ignored(
        self, api: httpx.AsyncClient, ada: dict[str, Any]
    ) -> None:
        """A neighbour's, with U+00A0 or U+0085 before the name; two are refused."""
        real = f"{COOKIE}={ada['refresh_token']}".encode()
        other = await sign_in(api)
        neighbours = f"{COOKIE}={other['refresh_token']}".encode()

        async def refreshed(*cookies: bytes) -> httpx.Response:
            headers = [(b"Origin", PAGE.encode()), (b"Cookie", b"; ".join(cookies))]
            return await api.post("/v1/session/refresh", headers=headers)

        for impostor in (b"\xa0" + neighbours, b"\x85" + neighbours, b"\xc2\xa0" + neighbours):
            assert_problem(await refreshed(impostor), 401, "session_ended")
        for pair in ((neighbours, real), (real, real)):
            assert_problem(await refreshed(*pair), 401, "session_ended")
        answer = await refreshed(b"\xa0" + neighbours, real)
        assert answer.status_code == 200
        assert await works(api, other)

    async def test_a_reused_token_ends_the_session(
        self, api: httpx.AsyncClient, ada: dict[str, Any], auth_engine: AsyncEngine
    ) -> None:
        """Then its successor and the session's access tokens are refused."""
        refreshed = await refresh(api, ada["refresh_token"], Origin=PAGE)
        await execute(
            auth_engine, "UPDATE sessions SET refreshed_at = refreshed_at - interval '1 minute'"
        )

        reused = await refresh(api, ada["refresh_token"], Origin=PAGE)
        child = await refresh(api, cookie_of(refreshed), Origin=PAGE)
        account = await api.get("/v1/me", headers=bearer(refreshed.json()))

        assert_problem(reused, 401, "session_ended")
        assert_problem(child, 401, "session_ended")
        assert_problem(account, 401, "invalid_token")
        assert await fetch(
            auth_engine, "SELECT 1 FROM audit_log WHERE action = 'authn_token_reuse'"
        )

    async def test_a_refresh_token_is_not_an_access_token(
        self, api: httpx.AsyncClient, ada: dict[str, Any]
    ) -> None:
        account = await api.get("/v1/me", headers=bearer({"access_token": ada["refresh_token"]}))
        refreshed = await refresh(api, ada["access_token"], Origin=PAGE)
        assert_problem(account, 401, "invalid_token")
        assert_problem(refreshed, 401, "session_ended")


class TestSignOut:
    """``POST /v1/signout``."""

    @pytest.mark.parametrize("query", ["", "?scope=local"])
    async def test_local_ends_this_session_and_no_other(
        self, api: httpx.AsyncClient, ada: dict[str, Any], auth_engine: AsyncEngine, query: str
    ) -> None:
        other = await sign_in(api)

        answer = await api.post(f"/v1/signout{query}", headers=bearer(ada))

        assert (answer.status_code, answer.content) == (204, b"")
        assert_clears(answer)
        assert not await works(api, ada)
        assert await works(api, other)
        assert len(await outbox(auth_engine)) == 1

    async def test_others_ends_all_but_this_session(
        self, api: httpx.AsyncClient, ada: dict[str, Any], auth_engine: AsyncEngine
    ) -> None:
        others = [await sign_in(api), await sign_in(api)]

        answer = await api.post("/v1/signout?scope=others", headers=bearer(ada))

        assert answer.status_code == 204
        assert "Set-Cookie" not in answer.headers
        assert await works(api, ada)
        assert [await works(api, other) for other in others] == [False, False]
        assert len(await outbox(auth_engine)) == 1

    async def test_global_ends_all_and_tells_every_service(
        self, api: httpx.AsyncClient, ada: dict[str, Any], auth_engine: AsyncEngine
    ) -> None:
        """The event has ``tokens_valid_after``; the audit log names the actor."""
        other = await sign_in(api)

        answer = await api.post("/v1/signout?scope=global", headers=bearer(ada))

        [row] = await fetch(auth_engine, "SELECT * FROM users")
        [_, event] = await outbox(auth_engine)
        [entry] = await fetch(
            auth_engine, "SELECT * FROM audit_log WHERE action = 'sessions_ended'"
        )
        assert answer.status_code == 204
        assert_clears(answer)
        assert [await works(api, each) for each in (ada, other)] == [False, False]
        assert row.tokens_valid_after.microsecond == 0
        assert row.version == event.version > ada["user"]["version"]
        assert event.type == "user.updated"
        assert event.payload["tokens_valid_after"] is not None
        assert (entry.action, entry.actor) == ("sessions_ended", f"user:{row.id}")
        assert entry.details == {"sessions": 2}
        assert await works(api, await sign_in(api))

    async def test_a_crowd_that_signs_out_everywhere_does_it_once(
        self, api: httpx.AsyncClient, ada: dict[str, Any], auth_engine: AsyncEngine
    ) -> None:
        """One event, and ``tokens_valid_after`` moves no further than for one."""
        answers = await asyncio.gather(
            *(api.post("/v1/signout?scope=global", headers=bearer(ada)) for _ in range(8))
        )
        assert {answer.status_code for answer in answers} <= {204, 401}
        assert len(await outbox(auth_engine)) == 2

    async def test_no_other_users_session_ends(
        self, api: httpx.AsyncClient, ada: dict[str, Any]
    ) -> None:
        for scope in ("others", "global"):
            bob = await signed_up(api, f"{scope}@example.org")
            await api.post(f"/v1/signout?scope={scope}", headers=bearer(bob))
        assert await works(api, ada)

    async def test_it_needs_a_token_and_a_scope_that_exists(
        self, api: httpx.AsyncClient, ada: dict[str, Any]
    ) -> None:
        anonymous = await api.post("/v1/signout")
        unknown = await api.post("/v1/signout?scope=all", headers=bearer(ada))
        assert_problem(anonymous, 401, "authentication_required")
        assert_problem(unknown, 422, "invalid_request")
        assert await works(api, ada)


class TestSessions:
    """``GET /v1/me/sessions`` and ``DELETE /v1/me/sessions/{id}``."""

    async def test_they_are_listed_with_what_tells_them_apart(
        self, api: httpx.AsyncClient, ada: dict[str, Any]
    ) -> None:
        assert ada
        await signed_up(api, "bob@example.org")
        other = await api.post("/v1/signin", json=ADA, headers={"User-Agent": "Phone" + "!" * 500})

        answer = await api.get("/v1/me/sessions", headers=bearer(other.json()))

        body = answer.json()
        assert answer.status_code == 200
        assert body.keys() == {"items", "next_cursor"}
        assert body["next_cursor"] is None
        here, there = body["items"]
        fields = {"id", "created_at", "refreshed_at", "expires_at", "user_agent", "current"}
        assert here.keys() == there.keys() == fields
        assert (here["current"], there["current"]) == (True, False)
        assert here["user_agent"] == ("Phone" + "!" * 500)[:256]
        assert there["user_agent"].startswith("python-httpx")
        assert here["created_at"].endswith("Z")
        assert "rt_" not in answer.text

    async def test_one_of_them_can_be_ended(
        self, api: httpx.AsyncClient, ada: dict[str, Any]
    ) -> None:
        other = await sign_in(api)
        listed = (await api.get("/v1/me/sessions", headers=bearer(ada))).json()["items"]
        [session] = [each["id"] for each in listed if not each["current"]]

        answers = [
            await api.delete(f"/v1/me/sessions/{session}", headers=bearer(ada)) for _ in range(2)
        ]

        listed = (await api.get("/v1/me/sessions", headers=bearer(ada))).json()["items"]
        assert (answers[0].status_code, answers[0].content) == (204, b"")
        assert_problem(answers[1], 404, "not_found")
        assert not await works(api, other)
        assert await works(api, ada)
        assert [each["current"] for each in listed] == [True]

    async def test_anothers_is_not_found(
        self, api: httpx.AsyncClient, ada: dict[str, Any], auth_engine: AsyncEngine
    ) -> None:
        """The same response as for an unknown id, and the session stays live."""
        bob = await signed_up(api, "bob@example.org")
        [row] = await fetch(
            auth_engine, "SELECT id FROM sessions WHERE user_id = :id", id=ada["user"]["id"]
        )

        for session in (row.id, uuid4()):
            answer = await api.delete(f"/v1/me/sessions/{session}", headers=bearer(bob))
            assert_problem(answer, 404, "not_found")
        assert await works(api, ada)

    async def test_a_session_whose_row_is_gone_has_ended(
        self, api: httpx.AsyncClient, ada: dict[str, Any], auth_engine: AsyncEngine
    ) -> None:
        """Its access token is refused, although nothing says when it ended."""
        await execute(auth_engine, "DELETE FROM sessions")
        assert_problem(await api.get("/v1/me", headers=bearer(ada)), 401, "invalid_token")


async def refresh(api: httpx.AsyncClient, token: str | None, **headers: str) -> httpx.Response:
    cookie = {} if token is None else {"Cookie": f"{COOKIE}={token}"}
    return await api.post("/v1/session/refresh", headers={**cookie, **headers})


async def sign_in(api: httpx.AsyncClient) -> dict[str, Any]:
    answer = await api.post("/v1/signin", json=ADA)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def works(api: httpx.AsyncClient, signed_in: dict[str, Any]) -> bool:
    account = await api.get("/v1/me", headers=bearer(signed_in))
    refreshed = await refresh(api, signed_in["refresh_token"], Origin=PAGE)
    assert (account.status_code, refreshed.status_code) in ((200, 200), (401, 401))
    return account.status_code == 200


def cookie_of(answer: httpx.Response) -> str:
    return SimpleCookie(answer.headers["Set-Cookie"])[COOKIE].value


def assert_clears(answer: httpx.Response) -> None:
    """The response deletes the cookie, which needs the attributes with which it was set."""
    name_and_value, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name_and_value == f"{COOKIE}="
    assert set(attributes) == {*FLAGS, "Max-Age=0"}
