"""The OAuth endpoints over HTTP: issuing, introspecting and revoking tokens."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.oauth.form import MEDIA_TYPE
from auth_service.secrets import Secrets
from auth_service.services.administer import create_service, delete_service
from auth_service.services.authenticate import WrongKey, authenticate
from auth_service.services.keys import revoke_key
from auth_service.services.model import SCOPES, ApiKey, IssuedKey
from auth_service.settings import ApiSettings
from blog_service.settings import ApiSettings as BlogSettings
from contracts.tokens import AccessToken, TokenVerifier
from service_kit.process.actors import operator_actor
from service_kit.process.rates import Rate
from tests.support.auth_api import PASSWORD, assert_problem, bearer, serving, signed_up
from tests.support.blog_api import blog_api
from tests.support.builders import SOURCE
from tests.support.in_turn import in_turn
from tests.support.inbox import execute, fetch

ACTOR = operator_actor("test")
TOKEN, INTROSPECT, REVOKE = "/oauth/token", "/oauth/introspect", "/oauth/revoke"
GRANT = {"grant_type": "client_credentials"}
CHALLENGE = 'Basic realm="usersync"'
INACTIVE = {"active": False}

Signed = dict[str, Any]
Credentials = tuple[str, str]


@pytest.fixture
async def feed(auth_engine: AsyncEngine, api_settings: ApiSettings) -> IssuedKey:
    """A service account with two of the scopes, and its key."""
    return await a_service(auth_engine, api_settings, "feed")


@pytest.fixture
async def ada(api: httpx.AsyncClient) -> Signed:
    return await signed_up(api, "ada@example.org")


@pytest.fixture
async def strict(api_settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API with small limits."""
    names = ("limit_token", "limit_introspect", "limit_refresh")
    limits = {name: Rate(3, 600) for name in names}
    async with serving(api_settings.model_copy(update=limits)) as client:
        yield client


async def a_service(engine: AsyncEngine, settings: ApiSettings, name: str) -> IssuedKey:
    return await create_service(
        engine,
        settings.secrets,
        name=name,
        scopes=["posts:write", "users:reconcile"],
        key_days=90,
        actor=ACTOR,
    )


def basic(issued: IssuedKey) -> Credentials:
    return issued.id, issued.api_key


async def service_token(api: httpx.AsyncClient, issued: IssuedKey) -> dict[str, Any]:
    answer = await api.post(TOKEN, data=GRANT, auth=basic(issued))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def refreshed(api: httpx.AsyncClient, token: str, **form: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, **form}
    return await api.post(TOKEN, data=form)


async def introspected(api: httpx.AsyncClient, issued: IssuedKey, token: str) -> dict[str, Any]:
    answer = await api.post(INTROSPECT, data={"token": token}, auth=basic(issued))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def verified(api: httpx.AsyncClient, token: str) -> AccessToken:
    jwks = (await api.get("/.well-known/jwks.json")).json()
    return TokenVerifier.from_jwks(jwks, issuer=SOURCE, audience="blog").verify(token)


def assert_refused(answer: httpx.Response, error: str) -> None:
    """RFC 6749 5.2: the form, status and headers of an error."""
    body = answer.json()
    assert answer.status_code == (401 if error == "invalid_client" else 400), body
    assert body.keys() == {"error", "error_description"}
    assert body["error"] == error
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    challenge = CHALLENGE if error == "invalid_client" else None
    assert answer.headers.get("WWW-Authenticate") == challenge


class TestClientCredentials:
    """``grant_type=client_credentials``: a short-lived token for a service's id and key."""

    async def test_a_service_gets_a_token_for_itself(
        self, api: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """Ten minutes, all its scopes, no refresh token; of a service and of no user."""
        answer = await api.post(TOKEN, data=GRANT, auth=basic(feed))

        body = answer.json()
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Pragma"] == "no-cache"
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 600)
        assert body["scope"] == "posts:write users:reconcile"
        token = await verified(api, body["access_token"])
        assert token.subject == token.client_id == feed.id
        assert token.user_id is None
        assert token.scopes == {"posts:write", "users:reconcile"}
        assert token.expires_at - token.issued_at == 600

    async def test_it_may_ask_for_less(self, api: httpx.AsyncClient, feed: IssuedKey) -> None:
        form = {**GRANT, "scope": "posts:write posts:write"}
        answer = await api.post(TOKEN, data=form, auth=basic(feed))
        assert answer.json()["scope"] == "posts:write"
        token = await verified(api, answer.json()["access_token"])
        assert token.scopes == {"posts:write"}

    @in_turn(
        "scope", ["replays:write", "posts:write replays:write", "admin", "posts:write  ", "é", " "]
    )
    async def test_it_gets_no_more_than_it_has(
        self, api: httpx.AsyncClient, feed: IssuedKey, scope: str
    ) -> None:
        answer = await api.post(TOKEN, data={**GRANT, "scope": scope}, auth=basic(feed))
        assert_refused(answer, "invalid_scope")

    async def test_all_wrong_credentials_get_the_same_response(
        self,
        api: httpx.AsyncClient,
        auth_engine: AsyncEngine,
        api_settings: ApiSettings,
        feed: IssuedKey,
    ) -> None:
        other = await a_service(auth_engine, api_settings, "other")
        revoked = await a_service(auth_engine, api_settings, "revoked")
        await revoke_key(auth_engine, revoked.key_id, actor=ACTOR)
        expired = await a_service(auth_engine, api_settings, "expired")
        await execute(
            auth_engine, f"UPDATE api_keys SET expires_at = now() WHERE key_id = '{expired.key_id}'"
        )
        deleted = await a_service(auth_engine, api_settings, "deleted")
        await delete_service(auth_engine, deleted.id, actor=ACTOR)
        wrong: list[Credentials] = [
            (feed.id, other.api_key),
            (feed.id, ApiKey.new().text),
            (feed.id, feed.api_key[:-1]),
            (feed.id, ""),
            ("svc_0000000000000000", feed.api_key),
            ("feed", feed.api_key),
            ("", feed.api_key),
            ("", ""),
            ("x" * 400, "y" * 400),
            basic(revoked),
            basic(expired),
            basic(deleted),
        ]

        answers = [await api.post(TOKEN, data=GRANT, auth=each) for each in wrong]
        answers += [
            await api.post(TOKEN, data=GRANT, headers=[(b"authorization", header)])
            for header in (
                b"Basic",
                b"Basic ",
                b"Basic !",
                b"Basic " + base64.b64encode(feed.api_key.encode()),
                b"Basic " + base64.b64encode(f"{feed.id}:%zz".encode()),
                b"Basic " + base64.b64encode(f"{feed.id}:{feed.api_key}".encode())[:-3],
                b"Basic \xff",
                b"Bearer " + feed.api_key.encode(),
                b"",
            )
        ]
        answers.append(await api.post(TOKEN, data=GRANT))

        for answer in answers:
            assert_refused(answer, "invalid_client")
        assert len({answer.content for answer in answers}) == 1

    async def test_an_unknown_account_takes_the_work_of_a_wrong_key(
        self, auth_engine: AsyncEngine, feed: IssuedKey
    ) -> None:
        """One query and one comparison, so that timing reveals nothing."""
        work: list[str] = []

        class Counting(Secrets):
            def is_mac(self, purpose: str, message: bytes, candidate: bytes) -> bool:
                work.append("comparison")
                return super().is_mac(purpose, message, candidate)

        event.listen(
            auth_engine.sync_engine, "before_cursor_execute", lambda *_: work.append("query")
        )
        secrets = Counting(b"another secret, so that no key is right")
        await authenticated(auth_engine, secrets, feed.id, feed.api_key)
        wrong_key = list(work)
        for service_id, key in (
            ("svc_0000000000000000", feed.api_key),
            (feed.id, ApiKey.new().text),
            ("", ApiKey.new().text),
        ):
            work.clear()
            await authenticated(auth_engine, secrets, service_id, key)
            assert work == wrong_key == ["query", "comparison"]

    async def test_the_parts_of_basic_may_be_encoded_as_in_a_form(
        self, api: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """RFC 6749 2.3.1; most clients encode, and may encode every character."""
        service_id, api_key = [
            "".join(f"%{byte:02x}" for byte in each.encode()) for each in basic(feed)
        ]
        answer = await api.post(TOKEN, data=GRANT, auth=(service_id, api_key))
        assert answer.status_code == 200

    @in_turn(
        ("form", "error"),
        [
            ({}, "invalid_request"),
            ({"grant_type": ""}, "invalid_request"),
            (
                {"grant_type": "password", "username": "a", "password": "b"},
                "unsupported_grant_type",
            ),
            ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
            ({"grant_type": "CLIENT_CREDENTIALS"}, "unsupported_grant_type"),
            ({**GRANT, "client_id": "svc_0000000000000000"}, "invalid_request"),
            ({**GRANT, "client_secret": "x"}, "invalid_request"),
            ({**GRANT, "client_assertion": "x"}, "invalid_request"),
            ({**GRANT, "client_assertion_type": "x"}, "invalid_request"),
        ],
    )
    async def test_other_grants_and_other_ways_are_refused(
        self, api: httpx.AsyncClient, feed: IssuedKey, form: dict[str, str], error: str
    ) -> None:
        """Each with its own error, also with the right key."""
        assert_refused(await api.post(TOKEN, data=form, auth=basic(feed)), error)

    async def test_two_ways_at_once_are_refused(
        self, api: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """The key in the form as well, or two headers: it is unclear which one is meant."""
        header = httpx.BasicAuth(*basic(feed))._auth_header
        twice = [("Authorization", header), ("Authorization", header)]

        in_both = await api.post(
            TOKEN, data={**GRANT, "client_secret": feed.api_key}, auth=basic(feed)
        )
        two_headers = await api.post(TOKEN, data=GRANT, headers=twice)
        same_id = await api.post(TOKEN, data={**GRANT, "client_id": feed.id}, auth=basic(feed))

        assert_refused(in_both, "invalid_request")
        assert_refused(two_headers, "invalid_request")
        assert same_id.status_code == 200

    @in_turn(
        ("media_type", "body"),
        [
            ("application/json", b'{"grant_type": "client_credentials"}'),
            ("multipart/form-data; boundary=x", b"--x--"),
            ("text/plain", b"grant_type=client_credentials"),
            ("", b"grant_type=client_credentials"),
            (MEDIA_TYPE, b"grant_type=client_credentials&grant_type=client_credentials"),
            (MEDIA_TYPE, b"grant_type=client_credentials&x=1&x=2"),
            (MEDIA_TYPE, b"grant_type=client_credentials&x=%"),
            (MEDIA_TYPE, b"grant_type=\xff"),
            (MEDIA_TYPE, b"grant_type=client_credentials&x=" + b"1" * 17_000),
        ],
    )
    async def test_another_form_is_refused(
        self, api: httpx.AsyncClient, feed: IssuedKey, media_type: str, body: bytes
    ) -> None:
        """One media type, each parameter once, bounded."""
        headers = {"Content-Type": media_type}
        answer = await api.post(TOKEN, content=body, headers=headers, auth=basic(feed))
        assert_refused(answer, "invalid_request")

    async def test_a_charset_does_no_harm(self, api: httpx.AsyncClient, feed: IssuedKey) -> None:
        """Many clients send one, and unknown parameters are ignored."""
        headers = {"Content-Type": f"{MEDIA_TYPE.title()} ; charset=UTF-8"}
        body = b"grant_type=client_credentials&resource=x&scope="
        answer = await api.post(TOKEN, content=body, headers=headers, auth=basic(feed))
        assert answer.status_code == 200

    async def test_a_revoked_key_is_refused_and_its_successor_works(
        self, api: httpx.AsyncClient, auth_engine: AsyncEngine, feed: IssuedKey
    ) -> None:
        """From one request to the next; the successor still gets tokens."""
        token = (await service_token(api, feed))["access_token"]
        await revoke_key(auth_engine, feed.key_id, actor=ACTOR)
        assert_refused(await api.post(TOKEN, data=GRANT, auth=basic(feed)), "invalid_client")
        assert await verified(api, token)

    async def test_no_log_line_holds_a_key(
        self, api: httpx.AsyncClient, auth_engine: AsyncEngine, feed: IssuedKey
    ) -> None:
        await revoke_key(auth_engine, feed.key_id, actor=ACTOR)

        with structlog.testing.capture_logs() as logs:
            await api.post(TOKEN, data=GRANT, auth=basic(feed))
            await api.get("/v1/me", headers={"Authorization": f"Bearer {feed.api_key}"})

        key = ApiKey.parse(feed.api_key)
        assert key is not None
        assert key.secret not in str(logs)
        assert {"event": "api_key.refused", "key_id": key.id, "log_level": "info"} in [
            {name: line[name] for name in ("event", "key_id", "log_level") if name in line}
            for line in logs
        ]


class TestAnApiKeyIsGoodForNothingElse:
    """It is accepted with HTTP Basic at the OAuth endpoints, and refused elsewhere."""

    async def test_as_a_bearer_token(
        self, api: httpx.AsyncClient, blog_url: str, public_pem: str, feed: IssuedKey
    ) -> None:
        headers = {"Authorization": f"Bearer {feed.api_key}"}
        settings = BlogSettings(database_url=blog_url, public_key=public_pem, issuer=SOURCE)

        here = [await api.get(path, headers=headers) for path in ("/v1/me", "/v1/admin/services")]
        async with blog_api(settings) as blog:
            there = await blog.get("/v1/me", headers=headers)

        for answer in (*here, there):
            assert_problem(answer, 401, "invalid_token")

    async def test_by_http_basic_at_other_routes(
        self, api: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """Basic is for the OAuth endpoints."""
        answer = await api.get("/v1/admin/services", auth=basic(feed))
        assert_problem(answer, 401, "authentication_required")

    async def test_in_the_form_or_the_address(
        self, api: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """They would end up in logs."""
        shown = {"client_id": feed.id, "client_secret": feed.api_key}

        for answer in (
            await api.post(TOKEN, data={**GRANT, **shown}),
            await api.post(TOKEN, data=GRANT, params=shown),
            await api.post(
                TOKEN, params={**GRANT, **shown}, data={"grant_type": GRANT["grant_type"]}
            ),
            await api.post(INTROSPECT, data={"token": "x", **shown}),
            await api.post(INTROSPECT, data={"token": "x"}, params=shown),
        ):
            assert_refused(answer, "invalid_client")

    async def test_as_a_refresh_token(self, api: httpx.AsyncClient, feed: IssuedKey) -> None:
        assert_refused(await refreshed(api, feed.api_key), "invalid_grant")

    async def test_as_a_password(self, api: httpx.AsyncClient, feed: IssuedKey) -> None:
        """A service is not a user."""
        credentials = {"email": f"{feed.id}@example.org", "password": feed.api_key}
        assert_problem(await api.post("/v1/signin", json=credentials), 401, "invalid_credentials")


class TestRefresh:
    """``grant_type=refresh_token``: the next pair of tokens in a session."""

    async def test_a_session_is_refreshed(self, api: httpx.AsyncClient, ada: Signed) -> None:
        answer = await refreshed(api, ada["refresh_token"], client_id="first_party")

        body = answer.json()
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Pragma"] == "no-cache"
        assert body.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
        assert body["refresh_token"] != ada["refresh_token"]
        assert (await api.get("/v1/me", headers=bearer(body))).json() == ada["user"]
        assert (await refreshed(api, body["refresh_token"])).status_code == 200
        old, new = [await verified(api, each["access_token"]) for each in (ada, body)]
        assert old.session_id == new.session_id

    async def test_an_invalid_grant_is_refused_as_such(
        self, api: httpx.AsyncClient, auth_engine: AsyncEngine, ada: Signed
    ) -> None:
        """Garbage, another kind of token, an ended session, a disabled user: one response."""
        bob = await signed_up(api, "bob@example.org")
        await api.post("/v1/signout", headers=bearer(bob))
        answers = [
            await refreshed(api, token)
            for token in (
                "x",
                "é",
                "rt_" + "A" * 70,
                ada["access_token"],
                ada["refresh_token"][:-1],
                bob["refresh_token"],
            )
        ]
        await execute(auth_engine, "UPDATE users SET status = 'disabled'")
        answers.append(await refreshed(api, ada["refresh_token"]))

        for answer in answers:
            assert_refused(answer, "invalid_grant")
        assert len({answer.content for answer in answers}) == 1

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"refresh_token": ""}, "invalid_request"),
            ({"scope": "posts:write"}, "invalid_scope"),
            ({"client_id": "svc_0000000000000000"}, "invalid_client"),
            ({"client_secret": "x"}, "invalid_client"),
        ],
    )
    async def test_other_parameters_are_refused(
        self, api: httpx.AsyncClient, ada: Signed, changes: dict[str, str], error: str
    ) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": ada["refresh_token"]}
        assert_refused(await api.post(TOKEN, data={**form, **changes}), error)
        assert (await api.post(TOKEN, data=form)).status_code == 200

    async def test_a_service_has_no_refresh_tokens(
        self, api: httpx.AsyncClient, feed: IssuedKey, ada: Signed
    ) -> None:
        """Not even a stolen one; credentials that are sent must be right."""
        form = {"grant_type": "refresh_token", "refresh_token": ada["refresh_token"]}
        right = await api.post(TOKEN, data=form, auth=basic(feed))
        wrong = await api.post(TOKEN, data=form, auth=(feed.id, "x"))
        assert_refused(right, "unauthorized_client")
        assert_refused(wrong, "invalid_client")
        assert (await api.post(TOKEN, data=form)).status_code == 200


class TestLimits:
    async def test_a_service_spends_its_own_limit(
        self,
        strict: httpx.AsyncClient,
        auth_engine: AsyncEngine,
        api_settings: ApiSettings,
        feed: IssuedKey,
    ) -> None:
        """The fourth token within the time is refused; another service is not affected."""
        other = await a_service(auth_engine, api_settings, "other")

        answers = [await strict.post(TOKEN, data=GRANT, auth=basic(feed)) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert "r=2" in answers[0].headers["RateLimit"]
        refused = assert_problem(answers[3], 429, "too_many_requests")
        assert refused["violated-policies"] == ["client_credentials"]
        assert int(answers[3].headers["Retry-After"]) > 0
        assert (await strict.post(TOKEN, data=GRANT, auth=basic(other))).status_code == 200

    async def test_wrong_keys_from_its_network_do_not_hold_a_service_up(
        self, strict: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """They spend the network's limit; naming the account does not charge it."""
        wrong = (feed.id, ApiKey.new().text)
        answers = [await strict.post(TOKEN, data=GRANT, auth=wrong) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert (await strict.post(TOKEN, data=GRANT, auth=basic(feed))).status_code == 200

    async def test_a_flood_of_refreshes_stops_no_service(
        self, strict: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """And vice versa: the grants share no limit."""
        ada = await signed_up(strict, "ada@example.org")
        token = ada["refresh_token"]
        for _ in range(3):
            answer = await refreshed(strict, token)
            assert answer.status_code == 200
            token = answer.json()["refresh_token"]
        assert_problem(await refreshed(strict, token), 429, "too_many_requests")

        assert await service_token(strict, feed)

    async def test_a_flood_of_tokens_and_introspections_stops_no_refresh(
        self, strict: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """Tokens, introspection and wrong keys at their limits; sessions can still be refreshed."""
        ada = await signed_up(strict, "ada@example.org")
        wrong = (feed.id, ApiKey.new().text)
        for form, path in ((GRANT, TOKEN), ({"token": "x"}, INTROSPECT)):
            for auth in (basic(feed), wrong):
                answers = [await strict.post(path, data=form, auth=auth) for _ in range(4)]
                assert answers[-1].status_code == 429

        assert (await refreshed(strict, ada["refresh_token"])).status_code == 200

    async def test_beyond_the_limit_an_invalid_grant_is_still_refused_as_such(
        self, strict: httpx.AsyncClient, auth_engine: AsyncEngine
    ) -> None:
        """Its user must sign in again, not wait; a valid grant must wait, and stays valid."""
        ada = await signed_up(strict, "ada@example.org")
        bob = await signed_up(strict, "bob@example.org")
        carol = await signed_up(strict, "carol@example.org")
        await strict.post("/v1/signout", headers=bearer(bob))
        await execute(
            auth_engine, f"UPDATE users SET status = 'disabled' WHERE id = '{carol['user']['id']}'"
        )
        spent = [await refreshed(strict, ada["refresh_token"]) for _ in range(4)]
        assert [answer.status_code for answer in spent] == [200, 200, 200, 429]
        live = spent[0].json()["refresh_token"]

        for token in (bob["refresh_token"], carol["refresh_token"], "x"):
            assert_refused(await refreshed(strict, token), "invalid_grant")
        assert_problem(await refreshed(strict, live), 429, "too_many_requests")
        [row] = await fetch(
            auth_engine,
            f"SELECT counter, ended_at FROM sessions WHERE user_id = '{ada['user']['id']}'",
        )
        assert tuple(row) == (1, None)

    async def test_beyond_the_limit_a_stolen_grant_still_ends_its_session(
        self, strict: httpx.AsyncClient, auth_engine: AsyncEngine
    ) -> None:
        """A flood must not hide a theft."""
        ada = await signed_up(strict, "ada@example.org")
        for _ in range(3):
            await refreshed(strict, ada["refresh_token"])
        await execute(auth_engine, "UPDATE sessions SET refreshed_at = now() - interval '1 minute'")

        assert_refused(await refreshed(strict, ada["refresh_token"]), "invalid_grant")

        [row] = await fetch(auth_engine, "SELECT end_reason FROM sessions")
        assert row.end_reason == "token_reused"

    async def test_revocation_has_a_limit_of_its_own(self, strict: httpx.AsyncClient) -> None:
        """For each network."""
        answers = [await strict.post(REVOKE, data={"token": "x"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


class TestIntrospect:
    """``POST /oauth/introspect``."""

    async def test_a_users_token(
        self, api: httpx.AsyncClient, auth_engine: AsyncEngine, feed: IssuedKey, ada: Signed
    ) -> None:
        """Its claims, and nothing personal."""
        await execute(auth_engine, "UPDATE users SET roles = '{operator,admin}'")
        credentials = {"email": "ada@example.org", "password": PASSWORD}
        token = (await api.post("/v1/signin", json=credentials)).json()["access_token"]

        answer = await api.post(INTROSPECT, data={"token": token}, auth=basic(feed))

        claims = await verified(api, token)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json() == {
            "active": True,
            "iss": SOURCE,
            "sub": ada["user"]["id"],
            "client_id": "first_party",
            "aud": "blog",
            "exp": claims.expires_at,
            "iat": claims.issued_at,
            "jti": claims.jti,
            "token_type": "Bearer",
            "roles": ["admin", "operator"],
            "sid": str(claims.session_id),
        }

    async def test_a_services_token(self, api: httpx.AsyncClient, feed: IssuedKey) -> None:
        token = (await service_token(api, feed))["access_token"]

        body = await introspected(api, feed, token)

        claims = await verified(api, token)
        assert body == {
            "active": True,
            "iss": SOURCE,
            "sub": feed.id,
            "client_id": feed.id,
            "aud": "blog",
            "exp": claims.expires_at,
            "iat": claims.issued_at,
            "jti": claims.jti,
            "scope": "posts:write users:reconcile",
            "token_type": "Bearer",
        }

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE users SET status = 'disabled'",
            "UPDATE users SET status = 'deleted', deleted_at = now(), email = NULL,"
            " password_hash = NULL, roles = '{}'",
            "UPDATE users SET tokens_valid_after = date_trunc('second', now()) + '1s'",
            "UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'",
            "DELETE FROM sessions",
        ],
    )
    async def test_a_revoked_token_is_inactive(
        self,
        api: httpx.AsyncClient,
        auth_engine: AsyncEngine,
        feed: IssuedKey,
        ada: Signed,
        change: str,
    ) -> None:
        """Disabled, deleted or revoked users, ended sessions: at once, and without a reason."""
        assert (await introspected(api, feed, ada["access_token"]))["active"]
        await execute(auth_engine, change)
        assert await introspected(api, feed, ada["access_token"]) == INACTIVE

    async def test_a_deleted_services_token(
        self,
        api: httpx.AsyncClient,
        auth_engine: AsyncEngine,
        api_settings: ApiSettings,
        feed: IssuedKey,
    ) -> None:
        other = await a_service(auth_engine, api_settings, "other")
        token = (await service_token(api, other))["access_token"]
        await delete_service(auth_engine, other.id, actor=ACTOR)
        assert await introspected(api, feed, token) == INACTIVE

    async def test_other_texts_are_inactive(
        self, api: httpx.AsyncClient, feed: IssuedKey, ada: Signed
    ) -> None:
        """Refresh tokens, API keys, garbage: one response for all."""
        signature = ada["access_token"].rpartition(".")[2]
        for token in (
            ada["refresh_token"],
            feed.api_key,
            ada["user"]["id"],
            ada["access_token"].replace(signature, signature[::-1]),
            "x",
            "é\x00",
            "x" * 9_000,
        ):
            assert await introspected(api, feed, token) == INACTIVE

    async def test_only_services_may_ask(
        self, api: httpx.AsyncClient, feed: IssuedKey, ada: Signed
    ) -> None:
        """Else it would be an oracle for stolen tokens; a user's token is not enough."""
        form = {"token": ada["access_token"]}

        for answer in (
            await api.post(INTROSPECT, data=form),
            await api.post(INTROSPECT, data=form, auth=(feed.id, "x")),
            await api.post(INTROSPECT, data=form, headers=bearer(ada)),
        ):
            assert_refused(answer, "invalid_client")
        assert_refused(await api.post(INTROSPECT, auth=basic(feed), data={}), "invalid_request")


class TestRevoke:
    """``POST /oauth/revoke``."""

    @pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
    async def test_revoking_a_token_ends_its_session(
        self, api: httpx.AsyncClient, auth_engine: AsyncEngine, ada: Signed, kind: str
    ) -> None:
        """Neither of its tokens is valid any more; the user's other session is."""
        credentials = {"email": "ada@example.org", "password": PASSWORD}
        other = (await api.post("/v1/signin", json=credentials)).json()

        answer = await api.post(REVOKE, data={"token": ada[kind], "token_type_hint": "x"})

        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Cache-Control"] == "no-store"
        assert_refused(await refreshed(api, ada["refresh_token"]), "invalid_grant")
        assert_problem(await api.get("/v1/me", headers=bearer(ada)), 401, "invalid_token")
        assert (await api.get("/v1/me", headers=bearer(other))).status_code == 200
        assert (await refreshed(api, other["refresh_token"])).status_code == 200
        ended = await fetch(
            auth_engine, "SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL"
        )
        assert [row.end_reason for row in ended] == ["revoked"]

    async def test_an_unknown_token_gets_200(
        self, api: httpx.AsyncClient, feed: IssuedKey, ada: Signed
    ) -> None:
        """RFC 7009 2.2: nothing is left to do for the client; an API key is not affected."""
        for token in ("x", ada["refresh_token"][:-1], feed.api_key, "é", "x" * 9_000):
            answer = await api.post(REVOKE, data={"token": token})
            assert (answer.status_code, answer.content) == (200, b"")
        twice = [await api.post(REVOKE, data={"token": ada["refresh_token"]}) for _ in range(2)]
        assert [answer.status_code for answer in twice] == [200, 200]
        assert await service_token(api, feed)

    async def test_a_services_token_cannot_be_revoked(
        self, api: httpx.AsyncClient, feed: IssuedKey
    ) -> None:
        """RFC 7009 2.2.1: an error is better than a false success."""
        token = (await service_token(api, feed))["access_token"]
        answer = await api.post(REVOKE, data={"token": token})
        assert_refused(answer, "unsupported_token_type")

    async def test_credentials_that_are_sent_have_to_be_right(
        self, api: httpx.AsyncClient, feed: IssuedKey, ada: Signed
    ) -> None:
        """None are required."""
        form = {"token": ada["refresh_token"]}

        wrong = await api.post(REVOKE, data=form, auth=(feed.id, "x"))
        in_the_form = await api.post(REVOKE, data={**form, "client_secret": feed.api_key})
        alive = await refreshed(api, ada["refresh_token"])
        right = await api.post(REVOKE, data=form, auth=basic(feed))

        assert_refused(wrong, "invalid_client")
        assert_refused(in_the_form, "invalid_client")
        assert (alive.status_code, right.status_code) == (200, 200)
        assert_refused(await api.post(REVOKE, data={}), "invalid_request")


class TestOpenApi:
    """The document from which clients are generated."""

    async def test_forms_refusals_and_credentials_are_described(
        self, api: httpx.AsyncClient
    ) -> None:
        document = (await api.get("/openapi.json")).json()

        schemes = document["components"]["securitySchemes"]
        assert schemes["apiKey"]["scheme"] == "basic"
        for path in (TOKEN, INTROSPECT, REVOKE):
            operation = document["paths"][path]["post"]
            is_needed = path == INTROSPECT
            assert operation["security"] == [{"apiKey": []}, *([] if is_needed else [{}])]
            assert operation["requestBody"]["content"].keys() == {MEDIA_TYPE}
            for status in ("400", "401"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema["$ref"].endswith("/OAuthErrorBody")
            assert operation["responses"].keys() >= {"200", "429"}
            assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
        scopes = document["components"]["schemas"]["NewServiceBody"]["properties"]["scopes"]
        assert scopes["items"]["enum"] == list(SCOPES)


async def authenticated(
    engine: AsyncEngine, secrets: Secrets, service_id: str, api_key: str
) -> None:
    with pytest.raises(WrongKey):
        await authenticate(engine, secrets, service_id=service_id, api_key=api_key)
