"""Sessions over HTTP: the refresh cookie, signing out, and the list of one's own."""

import asyncio
import json
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from uuid import uuid4

import httpx
import pytest

from auth_service.settings import ApiSettings
from tests.support.auth_api import PASSWORD, AuthApi, Signed, assert_problem, serving, statuses
from tests.support.builders import SOURCE
from tests.support.in_turn import in_turn
from tests.support.relaying import outbox

ADA = {"email": "ada@example.org", "password": PASSWORD}
PAGE = "https://blog.example"
COOKIE = "__Host-refresh"
FLAGS = ("Path=/", "Secure", "HttpOnly", "SameSite=Strict")
NOT_STORED = {"cache-control": "no-store", "pragma": "no-cache"}
BODY = {"user", "access_token", "token_type", "expires_in"}


@pytest.fixture
async def api(api_settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that allows pages of one other origin."""
    async with serving(api_settings.model_copy(update={"cors_origins": (PAGE,)})) as client:
        yield client


@pytest.fixture
async def ada(api: AuthApi) -> Signed:
    return await api.sign_up()


class TestRefreshToken:
    async def test_it_is_in_the_body_unless_a_cookie_is_asked_for(self, api: AuthApi) -> None:
        """Sign-up and sign-in, each with a token of its session; an address in any case."""
        up = await api.post("/v1/signup", json={**ADA, "email": "Ada@Example.org"})
        spelled = {**ADA, "email": "ADA@example.ORG", "session": "token"}
        again = await api.post("/v1/signin", json=spelled)

        assert (up.status_code, again.status_code) == (201, 200)
        user = up.json()["user"]
        new = {"email": ADA["email"], "email_verified": False, "roles": [], "status": "active"}
        assert user.keys() == {*new, "id", "version", "created_at", "updated_at"}
        assert user == user | new
        for answer in (up, again):
            assert answer.json().keys() == BODY | {"refresh_token"}
            assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 900)
            assert answer.json()["user"] == user
            assert answer.json()["refresh_token"].startswith("rt_")
            assert "Set-Cookie" not in answer.headers
            assert answer.headers.items() >= NOT_STORED.items()
            assert answer.headers["RateLimit"]
        assert up.json()["refresh_token"] != again.json()["refresh_token"]

    async def test_it_is_in_a_cookie_and_nowhere_else(self, api: AuthApi) -> None:
        """Out of reach of scripts, other hosts and pages of other sites, until it is idle."""
        for path in ("/v1/signup", "/v1/signin"):
            answer = await api.post(path, json={**ADA, "session": "cookie"})
            assert answer.json().keys() == BODY
            [header] = answer.headers.get_list("Set-Cookie")
            name_and_token, *attributes = header.split("; ")
            assert name_and_token.startswith(f"{COOKIE}=rt_")
            assert set(attributes) == {*FLAGS, f"Max-Age={14 * 86_400}"}
        unknown = await api.post("/v1/signin", json={**ADA, "session": "both"})
        assert_problem(unknown, 422, "invalid_request")

    async def test_no_page_of_another_origin_signs_its_visitor_in(self, api: AuthApi) -> None:
        """Requests that browsers send without a preflight are refused, and so are preflights."""
        await api.sign_up()
        origin = {"Origin": "https://evil.example"}
        form, text = "application/x-www-form-urlencoded", "text/plain"
        simple = ("", text, f"{text};application/json", form)
        body = json.dumps({**ADA, "session": "cookie"})
        for sent in (origin, *({**origin, "Content-Type": media_type} for media_type in simple)):
            answer = await api.post("/v1/signin", content=body, headers=sent)
            assert_problem(answer, 422, "invalid_request")
            assert "Set-Cookie" not in answer.headers
        asks = {"Method": "POST", "Headers": "content-type"}
        preflight = {f"Access-Control-Request-{name}": value for name, value in asks.items()}
        asked = await api.options("/v1/signin", headers=origin | preflight)
        assert "Access-Control-Allow-Origin" not in asked.headers


class TestRefresh:
    """``POST /v1/session/refresh``."""

    @in_turn("origin", [SOURCE, PAGE])
    async def test_a_page_gets_a_token_and_the_next_cookie(self, api: AuthApi, origin: str) -> None:
        """From this service's own origin and from allowed ones."""
        user = await api.sign_up(f"user@{origin.removeprefix('https://')}.example")
        answer = await refresh(api, user["refresh_token"], Origin=origin)

        child = cookie_of(answer)
        assert answer.status_code == 200
        assert answer.json().keys() == BODY
        assert answer.json()["user"] == user["user"]
        assert answer.headers.items() >= NOT_STORED.items()
        assert answer.headers["RateLimit-Policy"].startswith('"refresh"')
        assert child.startswith("rt_")
        assert child != user["refresh_token"]
        works = api.me(answer.json()), refresh(api, child, Origin=origin)
        assert await statuses(*works) == [200, 200]

    @in_turn(
        "origin",
        [
            *(None, "", "null", "*", "https://evil.example", PAGE.replace("https", "http")),
            *(f"{PAGE}{more}" for more in (".evil.example", ":444", "/", ", https://evil.example")),
        ],
    )
    async def test_no_other_page_may(self, api: AuthApi, ada: Signed, origin: str | None) -> None:
        """403 without reading the cookie, which stays valid."""
        headers = {} if origin is None else {"Origin": origin}
        answer = await refresh(api, ada["refresh_token"], **headers)
        [row] = await api.fetch("SELECT counter FROM sessions")
        assert_problem(answer, 403, "origin_not_allowed")
        assert "Set-Cookie" not in answer.headers
        assert row.counter == 0

    async def test_an_ended_session_clears_the_cookie(self, api: AuthApi, ada: Signed) -> None:
        """So does a session whose row is gone, and a token of another kind."""
        assert (await api.ask(ada, "POST", "/v1/signout")).status_code == 204
        gone = (await api.sign_in()).json()
        await api.execute("DELETE FROM sessions WHERE ended_at IS NULL")

        tokens = (ada["refresh_token"], "x", None, gone["refresh_token"], gone["access_token"])
        answers = [await refresh(api, token, Origin=PAGE) for token in tokens]

        for answer in answers:
            assert_problem(answer, 401, "session_ended")
            assert_clears(answer)
        assert len({answer.json()["title"] for answer in answers}) == 1
        for token in (ada["access_token"], gone["access_token"], gone["refresh_token"]):
            assert_problem(await api.me({"access_token": token}), 401, "invalid_token")


class TestSignOut:
    """``POST /v1/signout``."""

    async def test_local_and_others_end_these_alone(self, api: AuthApi, ada: Signed) -> None:
        """Of this user, which no other service needs to know; scopes that exist, with a token."""
        bob = await api.sign_up("bob@example.org")
        more = [(await api.sign_in()).json() for _ in range(4)]
        assert_problem(await api.post("/v1/signout"), 401, "authentication_required")
        assert_problem(await sign_out(api, ada, "all"), 422, "invalid_request")

        for query, session in (("", more[0]), ("?scope=local", more[1])):
            answer = await api.ask(session, "POST", f"/v1/signout{query}")
            assert (answer.status_code, answer.content) == (204, b"")
            assert_clears(answer)
        assert [await works(api, each) for each in more[:3]] == [False, False, True]

        answer = await sign_out(api, ada, "others")
        assert answer.status_code == 204
        assert "Set-Cookie" not in answer.headers
        assert [await works(api, each) for each in (ada, bob, more[3])] == [True, True, False]
        assert len(await outbox(api.engine)) == 2

    async def test_global_ends_all_and_tells_every_service(self, api: AuthApi, ada: Signed) -> None:
        """The event has ``tokens_valid_after``; the audit log names the actor."""
        other = (await api.sign_in()).json()
        bob = await api.sign_up("bob@example.org")

        answer = await sign_out(api, ada, "global")

        [row] = await api.fetch("SELECT * FROM users WHERE email = 'ada@example.org'")
        *_, event = await outbox(api.engine)
        [entry] = await api.fetch("SELECT * FROM audit_log WHERE action = 'sessions_ended'")
        assert answer.status_code == 204
        assert_clears(answer)
        assert [await works(api, each) for each in (ada, other, bob)] == [False, False, True]
        assert row.tokens_valid_after.microsecond == 0
        assert row.version == event.version > ada["user"]["version"]
        assert event.type == "user.updated"
        assert event.payload["tokens_valid_after"] is not None
        assert (entry.action, entry.actor) == ("sessions_ended", f"user:{row.id}")
        assert entry.details == {"sessions": 2}
        assert await works(api, (await api.sign_in()).json())

    async def test_a_crowd_signs_out_everywhere_once(self, api: AuthApi, ada: Signed) -> None:
        """One event, and ``tokens_valid_after`` moves no further than for one."""
        answers = await asyncio.gather(*(sign_out(api, ada, "global") for _ in range(8)))
        assert {answer.status_code for answer in answers} <= {204, 401}
        assert len(await outbox(api.engine)) == 2


class TestSessions:
    """``GET /v1/me/sessions`` and ``DELETE /v1/me/sessions/{id}``."""

    async def test_they_are_listed_with_what_tells_them_apart(self, api: AuthApi) -> None:
        for email in (ADA["email"], "bob@example.org"):
            await api.sign_up(email)
        other = await api.post("/v1/signin", json=ADA, headers={"User-Agent": "Phone" + "!" * 500})

        answer = await api.ask(other.json(), "GET", "/v1/me/sessions")

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

    async def test_one_of_them_can_be_ended(self, api: AuthApi, ada: Signed) -> None:
        """Not another user's, which is not found like an unknown one."""
        other = (await api.sign_in()).json()
        bob = await api.sign_up("bob@example.org")
        listed = (await api.ask(ada, "GET", "/v1/me/sessions")).json()["items"]
        [session] = [each["id"] for each in listed if not each["current"]]
        path, unknown = [f"/v1/me/sessions/{each}" for each in (session, uuid4())]

        refused = [await api.ask(bob, "DELETE", each) for each in (path, unknown)]
        alive = await api.me(other)
        once = await api.ask(ada, "DELETE", path)
        refused.append(await api.ask(ada, "DELETE", path))

        listed = (await api.ask(ada, "GET", "/v1/me/sessions")).json()["items"]
        for answer in refused:
            assert_problem(answer, 404, "not_found")
        assert (alive.status_code, once.status_code, once.content) == (200, 204, b"")
        assert [await works(api, each) for each in (other, ada)] == [False, True]
        assert [each["current"] for each in listed] == [True]


async def refresh(api: AuthApi, token: str | None, **headers: str) -> httpx.Response:
    cookie = {} if token is None else {"Cookie": f"{COOKIE}={token}"}
    return await api.post("/v1/session/refresh", headers={**cookie, **headers})


async def sign_out(api: AuthApi, signed_in: Signed, scope: str) -> httpx.Response:
    return await api.ask(signed_in, "POST", "/v1/signout", scope=scope)


async def works(api: AuthApi, signed_in: Signed) -> bool:
    account = await api.me(signed_in)
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
