"""The auth service over HTTP: its responses, its errors, and what it never reveals."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc import jwt as jose
from joserfc.jwk import KeySet, RSAKey
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import ApiSettings
from local.ports import free_port
from tests.support.auth_api import AuthApi, assert_problem, bearer, serving, signed_up
from tests.support.eventually import eventually
from tests.support.inbox import fetch

ADA = {"email": "ada@example.org", "password": "heron lantern gravel sonnet"}
CHALLENGE = 'Bearer realm="usersync"'
WRONG_FORMS: list[tuple[object, str]] = [
    ({**ADA, "password": "hunter2 hunter2"[:14]}, "weak_password"),
    ({**ADA, "password": "hunter2" * 40}, "invalid_request"),
    ({**ADA, "password": ""}, "invalid_request"),
    ({**ADA, "password": ["hunter2"]}, "invalid_request"),
    ({**ADA, "email": "hunter2"}, "invalid_email"),
    ({**ADA, "email": "hunter2@"}, "invalid_email"),
    ({**ADA, "email": "=?utf-8?q?hunter2?=@example.org"}, "invalid_email"),
    ({**ADA, "email": f"{'a' * 65}@example.org"}, "invalid_email"),
    ({**ADA, "password": "correct horse battery staple"}, "weak_password"),
    ({**ADA, "password": "passwordpassword1"}, "weak_password"),
    ({**ADA, "password": "\ufdfa"}, "weak_password"),
    ({**ADA, "password": "ada.ada@ada 2026"}, "weak_password"),
    ({**ADA, "email": "hunter2\x00@example.org"}, "invalid_request"),
    ({**ADA, "email": "hunter2\x01@example.org"}, "invalid_email"),
    ({**ADA, "email": f"{'hunter2' * 50}@example.org"}, "invalid_request"),
    ({**ADA, "email": None}, "invalid_request"),
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
TOKENS = {"access_token", "token_type", "expires_in", "refresh_token"}
USER = {"id", "email", "email_verified", "roles", "status", "version", "created_at", "updated_at"}


@pytest.fixture
async def ada(api: AuthApi) -> dict[str, Any]:
    answer = await api.post("/v1/signup", json=ADA)
    assert answer.status_code == 201
    body: dict[str, Any] = answer.json()
    return body


class TestSignUp:
    """``POST /v1/signup``."""

    async def test_it_answers_with_the_user_and_a_token(self, api: AuthApi) -> None:
        answer = await api.post("/v1/signup", json={**ADA, "email": "Ada@Example.org"})

        body = answer.json()
        assert answer.status_code == 201
        assert answer.headers["Cache-Control"] == "no-store"
        assert body.keys() == TOKENS | {"user"}
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
        assert body["user"].keys() == USER
        assert (
            body["user"]
            | {"email": "ada@example.org", "email_verified": False, "roles": [], "status": "active"}
            == body["user"]
        )
        assert str(UUID(body["user"]["id"])) == body["user"]["id"]
        assert body["user"]["created_at"].endswith("Z")
        assert datetime.fromisoformat(body["user"]["created_at"])

    async def test_an_address_is_taken_in_any_case(self, api: AuthApi, ada: dict[str, Any]) -> None:
        for email in (ada["user"]["email"], "ADA@EXAMPLE.ORG", "Ada@example.Org"):
            answer = await api.post("/v1/signup", json={**ADA, "email": email})
            assert_problem(answer, 409, "email_taken")

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
            answer = await api.post(
                "/v1/signup", content=content, headers={"Content-Type": "application/json"}
            )
            assert_problem(answer, 422, "invalid_request")
            assert "hunter2" not in answer.text

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


class TestSignIn:
    """``POST /v1/signin``."""

    async def test_it_answers_like_sign_up(self, api: AuthApi, ada: dict[str, Any]) -> None:
        answer = await api.sign_in("ADA@example.ORG")
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json().keys() == ada.keys()
        assert answer.json()["user"] == ada["user"]

    async def test_every_wrong_pair_gets_the_same_error(
        self, api: AuthApi, ada: dict[str, Any]
    ) -> None:
        """Unknown address, wrong password, invalid address: one response, byte for byte."""
        wrong = [
            {**ADA, "password": "wrong"},
            {**ADA, "email": "nobody@example.org"},
            {**ADA, "email": "no address"},
        ]

        answers = [await api.post("/v1/signin", json=pair) for pair in wrong]

        assert ada
        assert_problem(answers[0], 401, "invalid_credentials")
        assert len({told(answer) for answer in answers}) == 1

    async def test_a_disabled_account_is_told_only_to_its_owner(
        self, api: AuthApi, ada: dict[str, Any]
    ) -> None:
        """Only the right password reveals that an account is disabled."""
        await api.execute("UPDATE users SET status = 'disabled'")

        right = await api.sign_in()
        wrong = await api.sign_in(password="wrong")
        account = await api.me(ada)

        assert_problem(right, 403, "account_disabled")
        assert_problem(wrong, 401, "invalid_credentials")
        assert_problem(account, 403, "account_disabled")

    async def test_too_many_at_once_are_told_to_come_back(
        self, api_settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """503 with Retry-After, even for an unknown address, which costs a hash as well."""
        settings = api_settings.model_copy(update={"hashing_threads": 1, "hashing_waiting_max": 1})
        is_one_refused = threading.Event()
        monkeypatch.setattr(PasswordHasher, "verify", lambda *_: not is_one_refused.wait(30))

        async def sign_in(n: int) -> httpx.Response:
            answer = await api.post("/v1/signin", json={**ADA, "email": f"u{n}@example.org"})
            if answer.status_code == 503:
                is_one_refused.set()
            return answer

        async with serving(settings) as api:
            answers = await asyncio.gather(*(sign_in(n) for n in range(8)))

        statuses = sorted(answer.status_code for answer in answers)
        busy = [answer for answer in answers if answer.status_code == 503]
        assert set(statuses) == {401, 503}
        for answer in busy:
            assert_problem(answer, 503, "busy")
            assert int(answer.headers["Retry-After"]) > 0


class TestAccount:
    """``GET, PATCH, DELETE /v1/me``."""

    async def test_it_is_shown_to_its_owner(self, api: AuthApi, ada: dict[str, Any]) -> None:
        answer = await api.me(ada)
        other_case = {"Authorization": f"bearer {ada['access_token']}"}
        assert answer.status_code == 200
        assert answer.json() == ada["user"]
        assert (await api.get("/v1/me", headers=other_case)).status_code == 200

    async def test_the_address_changes_with_the_password(
        self, api: AuthApi, ada: dict[str, Any]
    ) -> None:
        """The new address is normalised, unverified, and signs in; the old one does not."""
        new = {**ADA, "email": "Lovelace@Example.org"}

        answer = await api.patch("/v1/me", json=new, headers=bearer(ada))

        body = answer.json()
        assert answer.status_code == 200
        assert body.keys() == USER
        assert (body["email"], body["email_verified"]) == ("lovelace@example.org", False)
        assert body["version"] > ada["user"]["version"]
        assert (await api.me(ada)).json() == body
        assert (await api.post("/v1/signin", json=new)).status_code == 200
        assert (await api.sign_in()).status_code == 401

    async def test_a_change_can_be_refused(self, api: AuthApi, ada: dict[str, Any]) -> None:
        await signed_up(api, "bob@example.org")
        for changes, status, code in (
            ({"password": "wrong"}, 403, "wrong_password"),
            ({"email": "nobody"}, 422, "invalid_email"),
            ({"email": f"{'a' * 65}@example.org"}, 422, "invalid_email"),
            ({"email": "BOB@example.org"}, 409, "email_taken"),
        ):
            answer = await api.patch("/v1/me", json={**ADA, **changes}, headers=bearer(ada))
            assert_problem(answer, status, code)
        assert (await api.me(ada)).json() == ada["user"]

    async def test_it_is_deleted_with_the_password(self, api: AuthApi, ada: dict[str, Any]) -> None:
        wrong = await api.delete_me(ada, "wrong")
        right = await api.delete_me(ada)

        assert_problem(wrong, 403, "wrong_password")
        assert (right.status_code, right.content) == (204, b"")
        for answer in (
            await api.me(ada),
            await api.patch("/v1/me", json=ADA, headers=bearer(ada)),
            await api.delete_me(ada),
        ):
            assert_problem(answer, 401, "invalid_token")
            assert answer.headers["WWW-Authenticate"] == f'{CHALLENGE}, error="invalid_token"'
        assert_problem(await api.sign_in(), 401, "invalid_credentials")

    async def test_a_token_from_before_tokens_valid_after_is_refused(
        self, api: AuthApi, ada: dict[str, Any]
    ) -> None:
        """Revocations are by whole seconds: older tokens are refused, a new sign-in's is valid."""
        await api.execute(
            "UPDATE users SET tokens_valid_after = date_trunc('second', now()) + '1s'"
        )

        revoked = await api.me(ada)
        signed_in = await api.sign_in()
        fresh = await api.me(signed_in.json())

        assert_problem(revoked, 401, "invalid_token")
        assert fresh.status_code == 200


class TestBearer:
    """The challenges of RFC 6750 to a missing or invalid token."""

    async def test_no_token_is_challenged_without_an_error(
        self, api: AuthApi, ada: dict[str, Any]
    ) -> None:
        """RFC 6750 3.1: there is no error code; a token in the address, and in logs, is none."""
        answers = [
            await api.get("/v1/me"),
            await api.get("/v1/me", params={"access_token": ada["access_token"]}),
        ]
        answers += [
            await api.get("/v1/me", headers={"Authorization": sent})
            for sent in ("", "Bearer", "Bearer ", "Basic YTpi")
        ]
        for answer in answers:
            assert_problem(answer, 401, "authentication_required")
            assert answer.headers["WWW-Authenticate"] == CHALLENGE

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

    async def test_two_authorization_headers_are_a_bad_request(
        self, api: AuthApi, ada: dict[str, Any]
    ) -> None:
        """400: nobody knows which one a proxy has checked."""
        twice = [*bearer(ada).items(), *bearer(ada).items()]
        answer = await api.get("/v1/me", headers=twice)
        assert_problem(answer, 400, "two_credentials")
        assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]

    async def test_a_services_token_is_not_a_users(
        self, api: AuthApi, signing_key: RSAPrivateKey, ada: dict[str, Any]
    ) -> None:
        """403: the token is valid, but a user's is needed."""
        keys = KeySet.import_key_set((await api.get("/.well-known/jwks.json")).json())
        mine = jose.decode(ada["access_token"], keys, algorithms=["RS256"])
        claims = mine.claims | {"sub": "svc_feed", "client_id": "svc_feed"}
        for of_a_user in ("sid", "roles", "user_version"):
            del claims[of_a_user]
        token = jose.encode(mine.header, claims, RSAKey.import_key(signing_key))

        answer = await api.get("/v1/me", headers={"Authorization": f"Bearer {token}"})

        assert_problem(answer, 403, "user_required")


async def test_every_error_is_a_problem_document(api: AuthApi, ada: dict[str, Any]) -> None:
    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b"x" * 1024

    assert_problem(await api.get("/v1/nothing"), 404, "not_found")
    answer = await api.put("/v1/signup", json=ADA)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"
    for content in (b"x" * 80 * 1024, unannounced()):
        assert_problem(await api.post("/v1/signup", content=content), 413, "body_too_large")
    await api.execute("ALTER TABLE users RENAME COLUMN email TO secret_name")
    answer = await api.me(ada)
    assert_problem(answer, 500, "internal")
    assert "secret_name" not in answer.text


class TestHealth:
    """``/livez``, ``/readyz`` and ``/metrics``, with and without a database."""

    async def test_all_is_well(self, api: AuthApi, ada: dict[str, Any]) -> None:
        live, ready, metrics = [await api.get(path) for path in ("/livez", "/readyz", "/metrics")]
        assert ada
        assert (live.status_code, ready.status_code, metrics.status_code) == (200, 200, 200)
        assert "usersync_outbox_unpublished 1.0" in metrics.text
        assert "usersync_outbox_oldest_unpublished_age_seconds" in metrics.text

    async def test_without_a_database_it_lives_and_is_not_ready(
        self, api_settings: ApiSettings
    ) -> None:
        """Requests get 503 with Retry-After, without details about the database."""
        address = f"postgresql+asyncpg://auth:hunter2@127.0.0.1:{free_port()}/auth"
        settings = api_settings.model_copy(update={"database_url": address})
        async with serving(settings) as api:
            live, ready, metrics = [
                await api.get(path) for path in ("/livez", "/readyz", "/metrics")
            ]
            refused = [await api.post("/v1/signup", json=ADA), await api.sign_in()]

        assert (live.status_code, ready.status_code, metrics.status_code) == (200, 503, 200)
        for answer in refused:
            assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        assert "hunter2" not in "".join(each.text for each in (*refused, ready, metrics))

    async def test_it_recovers_by_itself_after_its_connections_were_cut(
        self, api: AuthApi, ada: dict[str, Any], auth_engine: AsyncEngine
    ) -> None:
        """A restarting database costs a few 503s, and no restart of the service."""
        await asyncio.gather(*(api.me(ada) for _ in range(4)))
        await fetch(
            auth_engine,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )

        async def works() -> bool:
            answer = await api.me(ada)
            if answer.status_code != 200:
                assert_problem(answer, 503, "unavailable")
            return answer.status_code == 200

        assert await eventually(works)


def told(answer: httpx.Response) -> str:
    own = answer.headers["X-Request-ID"]
    return f"{answer.text} {sorted(answer.headers.items())}".replace(own, "")
