"""The auth service over HTTP: its responses, its errors, and what it never reveals."""

import httpx
import pytest

from auth_service.settings import ApiSettings
from local.ports import free_port
from tests.support.auth_api import (
    PASSWORD,
    AuthApi,
    Signed,
    assert_problem,
    bearer,
    serving,
    statuses,
)

ADA = {"email": "ada@example.org", "password": PASSWORD}
PROBES = ("/livez", "/readyz", "/metrics")
CHALLENGE = 'Bearer realm="usersync"'
WEAK = ("hunter2 hunter", "correct horse battery staple", "passwordpassword1", "\ufdfa")
NO_PASSWORDS = ("hunter2" * 40, "", ["hunter2"])
NO_ADDRESSES = ("hunter2", "hunter2@", "=?utf-8?q?hunter2?=@example.org", "hunter2\x01@example.org")
NO_TEXTS = ("hunter2\x00@example.org", f"{'hunter2' * 50}@example.org", None)
WRONG_FORMS: list[tuple[object, str]] = [
    *(({**ADA, "password": wrong}, "weak_password") for wrong in (*WEAK, "ada.ada@ada 2026")),
    *(({**ADA, "password": wrong}, "invalid_request") for wrong in NO_PASSWORDS),
    *(({**ADA, "email": wrong}, "invalid_email") for wrong in NO_ADDRESSES),
    ({**ADA, "email": f"{'a' * 65}@example.org"}, "invalid_email"),
    *(({**ADA, "email": wrong}, "invalid_request") for wrong in NO_TEXTS),
    ({**ADA, "roles": ["hunter2"]}, "invalid_request"),
    ({"email": "hunter2@example.org"}, "invalid_request"),
    (["hunter2"], "invalid_request"),
]
NO_JSON = [
    b"",
    b"{",
    b"hunter2",
    b'{"email": "hunter2',
    b"\xff\xfehunter2",
    # Half of a surrogate pair, in the password and in the address.
    b'{"email": "a@example.org", "password": "hunter2hunter2\\ud800"}',
    b'{"email": "hunter2\\ud800@example.org", "password": "correct horse battery"}',
    b"[" * 20_000,
]
USER = {"id", "email", "email_verified", "roles", "status", "version", "created_at", "updated_at"}


@pytest.fixture
async def ada(api: AuthApi) -> Signed:
    return await api.sign_up()


class TestSignUp:
    """``POST /v1/signup``."""

    async def test_an_invalid_body_is_refused_without_an_echo(self, api: AuthApi) -> None:
        """422 names the field, never its value, and nobody is signed up."""
        for body, code in WRONG_FORMS:
            answer = await api.post("/v1/signup", json=body)
            assert_problem(answer, 422, code)
            for told in ("hunter2", "heron", "horse battery", "passwordpassword", "2026"):
                assert told not in answer.text
        assert await api.fetch("SELECT 1 FROM users") == []

    async def test_invalid_json_is_refused_without_an_echo(self, api: AuthApi) -> None:
        """An unreadable body is the client's error, not a 500."""
        for content in NO_JSON:
            headers = {"Content-Type": "application/json"}
            answer = await api.post("/v1/signup", content=content, headers=headers)
            assert_problem(answer, 422, "invalid_request")
            assert "hunter2" not in answer.text
        large = await api.post("/v1/signup", content=b"x" * 80 * 1024)
        assert_problem(large, 413, "body_too_large")

    async def test_a_password_is_taken_as_it_is(self, api: AuthApi) -> None:
        """Any characters, including spaces at its ends; up to 256 of them."""
        longest = "".join(chr(0x4E00 + 7 * n * n % 9001) for n in range(256))
        for n, password in enumerate(
            ["  gravel sonnet  heron ", longest, "correct\x01horse\x7fbattery"]
        ):
            credentials = {"email": f"user{n}@example.org", "password": password}

            assert (await api.post("/v1/signup", json=credentials)).status_code == 201
            assert (await api.sign_in(**credentials)).status_code == 200
            shorter = {**credentials, "password": password[1:]}
            assert (await api.post("/v1/signin", json=shorter)).status_code == 401


class TestAccount:
    """``GET, PATCH, DELETE /v1/me``."""

    async def test_the_address_changes_with_the_password(self, api: AuthApi, ada: Signed) -> None:
        """The new address is normalised, unverified, and signs in; the old one does not."""
        answer = await api.change_address(ada, "Lovelace@Example.org")

        body = answer.json()
        assert answer.status_code == 200
        assert body.keys() == USER
        assert (body["email"], body["email_verified"]) == ("lovelace@example.org", False)
        assert body["version"] > ada["user"]["version"]
        assert (await api.me(ada)).json() == body
        signed_in = api.sign_in("Lovelace@Example.org"), api.sign_in()
        assert await statuses(*signed_in) == [200, 401]

    async def test_a_change_can_be_refused(self, api: AuthApi, ada: Signed) -> None:
        await api.sign_up("bob@example.org")
        for email, password, status, code in (
            (ADA["email"], "wrong", 403, "wrong_password"),
            ("nobody", PASSWORD, 422, "invalid_email"),
            (f"{'a' * 65}@example.org", PASSWORD, 422, "invalid_email"),
            ("BOB@example.org", PASSWORD, 409, "email_taken"),
        ):
            assert_problem(await api.change_address(ada, email, password), status, code)
        assert (await api.me(ada)).json() == ada["user"]


class TestBearer:
    """The challenges of RFC 6750 to a missing or invalid token."""

    async def test_no_token_is_challenged_without_an_error(self, api: AuthApi, ada: Signed) -> None:
        """RFC 6750 3.1: there is no error code; a token in the address, and in logs, is none."""
        in_the_address = {"access_token": ada["access_token"]}
        answers = [await api.get("/v1/me", params=params) for params in (None, in_the_address)]
        answers += [
            await api.get("/v1/me", headers={"Authorization": sent})
            for sent in ("", "Bearer", "Bearer ", "Basic YTpi")
        ]
        for answer in answers:
            assert_problem(answer, 401, "authentication_required")
            assert answer.headers["WWW-Authenticate"] == CHALLENGE
        other_case = {"Authorization": f"bearer {ada['access_token']}"}
        assert (await api.get("/v1/me", headers=other_case)).json() == ada["user"]

    async def test_a_bad_token_is_challenged_with_an_error(self, api: AuthApi) -> None:
        """The response does not show which check failed, and repeats nothing of the token."""
        answers = [
            await api.get("/v1/me", headers=[(b"authorization", f"Bearer {token}".encode())])
            for token in ("x", "a.b.c", "x" * 9000, "a b", "é")
        ]

        for answer in answers:
            assert_problem(answer, 401, "invalid_token")
            assert answer.headers["WWW-Authenticate"] == f'{CHALLENGE}, error="invalid_token"'
        assert len({told(answer) for answer in answers}) == 1

    async def test_two_authorization_headers_are_refused(self, api: AuthApi, ada: Signed) -> None:
        """400: nobody knows which one a proxy has checked."""
        twice = [*bearer(ada).items(), *bearer(ada).items()]
        answer = await api.get("/v1/me", headers=twice)
        assert_problem(answer, 400, "two_credentials")
        assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]

    async def test_a_services_token_is_not_a_users(self, api: AuthApi) -> None:
        """403: the token is valid, but a user's is needed."""
        granted = await api.service_token(await api.create_service("feed", "posts:write"))
        assert_problem(await api.me(granted.json()), 403, "user_required")


class TestHealth:
    """``/livez``, ``/readyz`` and ``/metrics``, with and without a database."""

    async def test_all_is_well(self, api: AuthApi, ada: Signed) -> None:
        live, ready, metrics = [await api.get(path) for path in PROBES]
        assert ada
        assert (live.status_code, ready.status_code, metrics.status_code) == (200, 200, 200)
        assert "usersync_outbox_unpublished 1.0" in metrics.text
        assert "usersync_outbox_oldest_unpublished_age_seconds" in metrics.text

    async def test_without_a_database_it_is_only_alive(self, api_settings: ApiSettings) -> None:
        """Requests get 503 with Retry-After, without details about the database."""
        address = f"postgresql+asyncpg://auth:hunter2@127.0.0.1:{free_port()}/auth"
        settings = api_settings.model_copy(update={"database_url": address})
        async with serving(settings) as api:
            live, ready, metrics = [await api.get(path) for path in PROBES]
            refused = [await api.post("/v1/signup", json=ADA), await api.sign_in()]

        assert (live.status_code, ready.status_code, metrics.status_code) == (200, 503, 200)
        for answer in refused:
            assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        assert "hunter2" not in "".join(each.text for each in (*refused, ready, metrics))


def told(answer: httpx.Response) -> str:
    own = answer.headers["X-Request-ID"]
    return f"{answer.text} {sorted(answer.headers.items())}".replace(own, "")
