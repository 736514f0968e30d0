"""The OAuth endpoints over HTTP: issuing, introspecting and revoking tokens."""

import base64
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import event

from auth_service.app import create_app
from auth_service.oauth.form import MEDIA_TYPE
from auth_service.secrets import Secrets
from auth_service.services.administer import delete_service
from auth_service.services.authenticate import WrongKey, authenticate
from auth_service.services.keys import revoke_key
from auth_service.services.model import SCOPES, ApiKey, IssuedKey
from auth_service.settings import ApiSettings
from contracts.tokens import AccessToken, TokenVerifier
from service_kit.process.actors import operator_actor
from service_kit.process.rates import Rate
from tests.support.auth_api import AuthApi, Signed, assert_problem, bearer, statuses
from tests.support.builders import SOURCE
from tests.support.in_turn import in_turn

ACTOR = operator_actor("test")
TOKEN, INTROSPECT, REVOKE = "/oauth/token", "/oauth/introspect", "/oauth/revoke"
GRANT = {"grant_type": "client_credentials"}
CHALLENGE = 'Basic realm="usersync"'
INACTIVE = {"active": False}
NOBODY = "svc_0000000000000000"

Credentials = tuple[str, str]
FEED_SCOPES = ("posts:write", "users:reconcile")


class OAuthApi(AuthApi):
    """An API with a service account that has two of the scopes, and a user."""

    feed: IssuedKey
    ada: Signed

    @property
    def basic(self) -> Credentials:
        return basic(self.feed)

    async def ask_token(self, form: dict[str, str] = GRANT, **given: Any) -> httpx.Response:
        """Request a token; by default without credentials."""
        return await self.post(TOKEN, data=form, **given)

    async def introspect(self, token: str) -> dict[str, Any]:
        """Introspect a token as the service."""
        answer = await self.post(INTROSPECT, data={"token": token}, auth=self.basic)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def revoke(self, token: str, **auth: Any) -> httpx.Response:
        return await self.post(REVOKE, data={"token": token}, **auth)

    async def read(self, token: str) -> AccessToken:
        """Verify an access token as other services do."""
        jwks = (await self.get("/.well-known/jwks.json")).json()
        return TokenVerifier.from_jwks(jwks, issuer=SOURCE, audience="blog").verify(token)


@asynccontextmanager
async def oauth_api(settings: ApiSettings) -> AsyncIterator[OAuthApi]:
    app = create_app(settings)
    async with app.router.lifespan_context(app), OAuthApi(app) as api:
        api.feed = await api.create_service("feed", *FEED_SCOPES)
        api.ada = await api.sign_up()
        yield api


@pytest.fixture
async def api(api_settings: ApiSettings) -> AsyncIterator[OAuthApi]:
    async with oauth_api(api_settings) as api:
        yield api


@pytest.fixture
async def strict(api_settings: ApiSettings) -> AsyncIterator[OAuthApi]:
    """An API with small limits."""
    names = ("limit_token", "limit_introspect", "limit_refresh")
    limits = {name: Rate(3, 600) for name in names}
    async with oauth_api(api_settings.model_copy(update=limits)) as api:
        yield api


def basic(issued: IssuedKey) -> Credentials:
    return issued.id, issued.api_key


def described(token: AccessToken) -> dict[str, Any]:
    """What introspection says of any active token."""
    own = {"exp": token.expires_at, "iat": token.issued_at, "jti": token.jti}
    return {"active": True, "iss": SOURCE, "aud": "blog", "token_type": "Bearer", **own}


async def assert_refused(error: str, *asked: Awaitable[httpx.Response]) -> list[httpx.Response]:
    """RFC 6749 5.2: the form, status and headers of an error; return the responses."""
    answers = [await each for each in asked]
    for answer in answers:
        body = answer.json()
        assert answer.status_code == (401 if error == "invalid_client" else 400), body
        assert body.keys() == {"error", "error_description"}
        assert body["error"] == error
        assert answer.headers["Content-Type"] == "application/json"
        assert_not_stored(answer)
        challenge = CHALLENGE if error == "invalid_client" else None
        assert answer.headers.get("WWW-Authenticate") == challenge
    return answers


def assert_not_stored(answer: httpx.Response) -> None:
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


class TestClientCredentials:
    """``grant_type=client_credentials``: a short-lived token for a service's id and key."""

    async def test_a_service_gets_a_token_for_itself(self, api: OAuthApi) -> None:
        """Ten minutes, all its scopes, no refresh token; of a service and of no user."""
        answer = await api.service_token(api.feed)

        body = answer.json()
        assert answer.status_code == 200
        assert_not_stored(answer)
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 600)
        assert body["scope"] == "posts:write users:reconcile"
        token = await api.read(body["access_token"])
        assert token.subject == token.client_id == api.feed.id
        assert token.user_id is None
        assert token.scopes == {"posts:write", "users:reconcile"}
        assert token.expires_at - token.issued_at == 600

    async def test_it_may_ask_for_less_but_not_for_more(self, api: OAuthApi) -> None:
        answer = await api.service_token(api.feed, scope="posts:write posts:write")
        assert answer.json()["scope"] == "posts:write"
        token = await api.read(answer.json()["access_token"])
        assert token.scopes == {"posts:write"}
        more = ("replays:write", "posts:write replays:write", "admin", "posts:write  ", "é", " ")
        asked = (api.service_token(api.feed, scope=scope) for scope in more)
        await assert_refused("invalid_scope", *asked)

    async def test_all_wrong_credentials_get_the_same_response(self, api: OAuthApi) -> None:
        feed, names = api.feed, ("other", "revoked", "expired", "deleted")
        services = [await api.create_service(name, *FEED_SCOPES) for name in names]
        other, revoked, expired, deleted = services
        await revoke_key(api.engine, revoked.key_id, actor=ACTOR)
        only = f"WHERE key_id = '{expired.key_id}'"
        await api.execute(f"UPDATE api_keys SET expires_at = now() {only}")
        await delete_service(api.engine, deleted.id, actor=ACTOR)
        wrong: list[Credentials] = [
            *((feed.id, key) for key in (other.api_key, ApiKey.new().text, feed.api_key[:-1], "")),
            *((service_id, feed.api_key) for service_id in (NOBODY, "feed", "")),
            ("", ""),
            ("x" * 400, "y" * 400),
            *map(basic, (revoked, expired, deleted)),
        ]
        headers = (
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

        answers = await assert_refused(
            "invalid_client",
            *(api.ask_token(auth=each) for each in wrong),
            *(api.ask_token(headers=[(b"authorization", header)]) for header in headers),
            api.ask_token(),
        )

        assert len({answer.content for answer in answers}) == 1

    async def test_an_unknown_account_takes_the_work_of_a_wrong_key(self, api: OAuthApi) -> None:
        """One query and one comparison, so that timing reveals nothing."""
        work: list[str] = []

        class Counting(Secrets):
            def is_mac(self, purpose: str, message: bytes, candidate: bytes) -> bool:
                work.append("comparison")
                return super().is_mac(purpose, message, candidate)

        listened = api.engine.sync_engine, "before_cursor_execute"
        event.listen(*listened, lambda *_: work.append("query"))
        secrets = Counting(b"another secret, so that no key is right")
        right, unknown = api.feed.api_key, ApiKey.new().text
        for service_id, key in (
            *((api.feed.id, right), (NOBODY, right)),
            *((api.feed.id, unknown), ("", unknown)),
        ):
            work.clear()
            with pytest.raises(WrongKey):
                await authenticate(api.engine, secrets, service_id=service_id, api_key=key)
            assert work == ["query", "comparison"]

    async def test_what_clients_may_send_is_accepted(self, api: OAuthApi) -> None:
        """Encoded credentials (RFC 6749 2.3.1), a charset, unknown parameters, the same id."""
        encoded = ["".join(f"%{byte:02x}" for byte in each.encode()) for each in api.basic]
        headers = {"Content-Type": f"{MEDIA_TYPE.title()} ; charset=UTF-8"}
        body = b"grant_type=client_credentials&resource=x&scope="
        asked = (
            api.ask_token(auth=(encoded[0], encoded[1])),
            api.post(TOKEN, content=body, headers=headers, auth=api.basic),
            api.service_token(api.feed, client_id=api.feed.id),
        )
        assert await statuses(*asked) == [200] * 3

    async def test_other_grants_and_other_ways_are_refused(self, api: OAuthApi) -> None:
        """With the right key: each by its own error, and two ways of showing the key at once."""
        for form, error in (
            ({}, "invalid_request"),
            ({"grant_type": ""}, "invalid_request"),
            ({"grant_type": "password", "username": "a"}, "unsupported_grant_type"),
            ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
            ({"grant_type": "CLIENT_CREDENTIALS"}, "unsupported_grant_type"),
            ({**GRANT, "client_id": NOBODY}, "invalid_request"),
            ({**GRANT, "client_secret": api.feed.api_key}, "invalid_request"),
            ({**GRANT, "client_assertion": "x"}, "invalid_request"),
            ({**GRANT, "client_assertion_type": "x"}, "invalid_request"),
        ):
            await assert_refused(error, api.ask_token(form, auth=api.basic))
        header = ("Authorization", httpx.BasicAuth(*api.basic)._auth_header)
        await assert_refused("invalid_request", api.ask_token(headers=[header, header]))

    @in_turn(
        ("media_type", "body"),
        [
            ("application/json", b'{"grant_type": "client_credentials"}'),
            ("multipart/form-data; boundary=x", b"--x--"),
            ("text/plain", b"grant_type=client_credentials"),
            ("", b"grant_type=client_credentials"),
            (MEDIA_TYPE, b"grant_type=client_credentials&x=1&x=2"),
            (MEDIA_TYPE, b"grant_type=client_credentials&x=" + b"1" * 17_000),
        ],
    )
    async def test_bad_forms_are_refused(self, api: OAuthApi, media_type: str, body: bytes) -> None:
        """One media type, each parameter once, bounded."""
        headers = {"Content-Type": media_type}
        asked = api.post(TOKEN, content=body, headers=headers, auth=api.basic)
        await assert_refused("invalid_request", asked)

    async def test_no_log_line_holds_a_key(self, api: OAuthApi) -> None:
        await revoke_key(api.engine, api.feed.key_id, actor=ACTOR)

        with structlog.testing.capture_logs() as logs:
            await api.service_token(api.feed)
            await api.get("/v1/me", headers={"Authorization": f"Bearer {api.feed.api_key}"})

        key = ApiKey.parse(api.feed.api_key)
        assert key is not None
        assert key.secret not in str(logs)
        [line] = [line for line in logs if line["event"] == "api_key.refused"]
        assert (line["key_id"], line["log_level"]) == (key.id, "info")


async def test_an_api_key_is_good_for_nothing_else(api: OAuthApi, blog: httpx.AsyncClient) -> None:
    """No bearer token, refresh token or password; and never in a form or address, for logs."""
    headers = {"Authorization": f"Bearer {api.feed.api_key}"}
    there = await blog.get("/v1/me", headers=headers)
    here = [await api.get(path, headers=headers) for path in ("/v1/me", "/v1/admin/services")]
    for answer in (*here, there):
        assert_problem(answer, 401, "invalid_token")

    by_basic = await api.get("/v1/admin/services", auth=api.basic)
    assert_problem(by_basic, 401, "authentication_required")
    shown = {"client_id": api.feed.id, "client_secret": api.feed.api_key}
    await assert_refused(
        "invalid_client",
        api.ask_token({**GRANT, **shown}),
        api.ask_token(params=shown),
        api.ask_token(params={**GRANT, **shown}),
        api.post(INTROSPECT, data={"token": "x", **shown}),
        api.post(INTROSPECT, data={"token": "x"}, params=shown),
    )
    await assert_refused("invalid_grant", api.refresh(api.feed.api_key))
    signed_in = await api.sign_in(f"{api.feed.id}@example.org", api.feed.api_key)
    assert_problem(signed_in, 401, "invalid_credentials")


class TestRefresh:
    """``grant_type=refresh_token``: the next pair of tokens in a session."""

    async def test_a_session_is_refreshed(self, api: OAuthApi) -> None:
        answer = await api.refresh(api.ada["refresh_token"], client_id="first_party")

        body = answer.json()
        assert answer.status_code == 200
        assert_not_stored(answer)
        assert body.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
        assert body["refresh_token"] != api.ada["refresh_token"]
        assert (await api.me(body)).json() == api.ada["user"]
        assert (await api.refresh(body["refresh_token"])).status_code == 200
        old, new = [await api.read(each["access_token"]) for each in (api.ada, body)]
        assert old.session_id == new.session_id

    async def test_an_invalid_grant_is_refused_as_such(self, api: OAuthApi) -> None:
        """Garbage, another kind of token, an ended session, a disabled user: one response."""
        bob = await api.sign_up("bob@example.org")
        await api.ask(bob, "POST", "/v1/signout")
        wrong = ("x", "é", "rt_" + "A" * 70, api.ada["access_token"], api.ada["refresh_token"][:-1])
        tokens = (*wrong, bob["refresh_token"])
        answers = await assert_refused("invalid_grant", *(api.refresh(token) for token in tokens))
        await api.execute("UPDATE users SET status = 'disabled'")
        answers += await assert_refused("invalid_grant", api.refresh(api.ada["refresh_token"]))

        assert len({answer.content for answer in answers}) == 1

    async def test_other_parameters_are_refused(self, api: OAuthApi) -> None:
        """A service has no refresh tokens, not even a stolen one; the token stays valid."""
        form = {"grant_type": "refresh_token", "refresh_token": api.ada["refresh_token"]}
        for changes, error in (
            ({"refresh_token": ""}, "invalid_request"),
            ({"scope": "posts:write"}, "invalid_scope"),
            ({"client_id": NOBODY}, "invalid_client"),
            ({"client_secret": "x"}, "invalid_client"),
        ):
            await assert_refused(error, api.ask_token(form | changes))
        await assert_refused("unauthorized_client", api.ask_token(form, auth=api.basic))
        await assert_refused("invalid_client", api.ask_token(form, auth=(api.feed.id, "x")))
        assert (await api.refresh(api.ada["refresh_token"])).status_code == 200


class TestLimits:
    async def test_a_service_spends_its_own_limit(self, strict: OAuthApi) -> None:
        other = await strict.create_service("other", *FEED_SCOPES)

        answers = [await strict.service_token(strict.feed) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert "r=2" in answers[0].headers["RateLimit"]
        refused = assert_problem(answers[3], 429, "too_many_requests")
        assert refused["violated-policies"] == ["client_credentials"]
        assert int(answers[3].headers["Retry-After"]) > 0
        assert (await strict.service_token(other)).status_code == 200

    async def test_no_flood_stops_what_has_a_limit_of_its_own(self, strict: OAuthApi) -> None:
        """Wrong keys, revocations and refreshes stop no service, and services no refresh."""
        unknown = ApiKey.new().text
        wrong = (strict.service_token(strict.feed, key=unknown) for _ in range(4))
        assert await statuses(*wrong) == [401, 401, 401, 429]
        assert await statuses(*(strict.revoke("x") for _ in range(4))) == [200, 200, 200, 429]
        assert (await strict.service_token(strict.feed)).status_code == 200

        for path, form in ((TOKEN, GRANT), (INTROSPECT, {"token": "x"})):
            for auth in (strict.basic, (strict.feed.id, unknown)):
                asked = (strict.post(path, data=form, auth=auth) for _ in range(4))
                assert (await statuses(*asked))[-1] == 429
        token = strict.ada["refresh_token"]
        for _ in range(3):
            token = (await strict.refresh(token)).json()["refresh_token"]
        assert_problem(await strict.refresh(token), 429, "too_many_requests")
        other = await strict.create_service("other", *FEED_SCOPES)
        assert (await strict.service_token(other)).status_code == 200


class TestIntrospect:
    """``POST /oauth/introspect``."""

    async def test_a_users_token(self, api: OAuthApi) -> None:
        await api.execute("UPDATE users SET roles = '{operator,admin}'")
        token = (await api.sign_in()).json()["access_token"]

        answer = await api.post(INTROSPECT, data={"token": token}, auth=api.basic)

        claims = await api.read(token)
        assert answer.headers["Cache-Control"] == "no-store"
        of_user: dict[str, Any] = {"sub": api.ada["user"]["id"], "sid": str(claims.session_id)}
        of_user["auth_time"] = claims.authenticated_at
        of_all = {"client_id": "first_party", "roles": ["admin", "operator"]}
        assert answer.json() == described(claims) | of_user | of_all

    async def test_a_services_token(self, api: OAuthApi) -> None:
        token = (await api.service_token(api.feed)).json()["access_token"]
        body = await api.introspect(token)
        of_service = dict.fromkeys(("sub", "client_id"), api.feed.id)
        of_service["scope"] = "posts:write users:reconcile"
        assert body == described(await api.read(token)) | of_service

    async def test_a_revoked_token_is_inactive(self, api: OAuthApi) -> None:
        """Of a disabled, deleted or revoked user, an ended session, a deleted service: at once."""
        for n, change in enumerate(
            (
                "UPDATE users SET tokens_valid_after = date_trunc('second', now()) + '1s'",
                "UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'",
                "DELETE FROM sessions",
                "UPDATE users SET status = 'disabled'",
                "UPDATE users SET status = 'deleted', deleted_at = now(), email = NULL,"
                " password_hash = NULL, roles = '{}'",
            )
        ):
            user = await api.sign_up(f"user{n}@example.org")
            assert (await api.introspect(user["access_token"]))["active"]
            await api.execute(change)
            assert await api.introspect(user["access_token"]) == INACTIVE, change
        other = await api.create_service("other", *FEED_SCOPES)
        token = (await api.service_token(other)).json()["access_token"]
        await delete_service(api.engine, other.id, actor=ACTOR)
        assert await api.introspect(token) == INACTIVE

    async def test_other_texts_are_inactive(self, api: OAuthApi) -> None:
        ada = api.ada
        signature = ada["access_token"].rpartition(".")[2]
        forged = ada["access_token"].replace(signature, signature[::-1])
        others = (ada["refresh_token"], api.feed.api_key, ada["user"]["id"])
        for token in (forged, *others, "x", "é\x00", "x" * 9_000):
            assert await api.introspect(token) == INACTIVE

    async def test_only_services_may_ask(self, api: OAuthApi) -> None:
        """Else it would be an oracle for stolen tokens; a user's token is not enough."""
        form, with_token = {"token": api.ada["access_token"]}, {"headers": bearer(api.ada)}
        ways: list[dict[str, Any]] = [{}, {"auth": (api.feed.id, "x")}, with_token]
        asked = (api.post(INTROSPECT, data=form, **way) for way in ways)
        await assert_refused("invalid_client", *asked)
        await assert_refused("invalid_request", api.post(INTROSPECT, auth=api.basic, data={}))


class TestRevoke:
    """``POST /oauth/revoke``."""

    @pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
    async def test_revoking_a_token_ends_its_session(self, api: OAuthApi, kind: str) -> None:
        other = (await api.sign_in()).json()

        answer = await api.post(REVOKE, data={"token": api.ada[kind], "token_type_hint": "x"})

        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Cache-Control"] == "no-store"
        await assert_refused("invalid_grant", api.refresh(api.ada["refresh_token"]))
        assert_problem(await api.me(api.ada), 401, "invalid_token")
        others = api.me(other), api.refresh(other["refresh_token"])
        assert await statuses(*others) == [200, 200]
        ended = await api.fetch("SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL")
        assert [row.end_reason for row in ended] == ["revoked"]

    async def test_an_unknown_token_gets_200_and_a_services_an_error(self, api: OAuthApi) -> None:
        """RFC 7009 2.2: nothing is left to do; 2.2.1: an error is better than a false success."""
        for token in ("x", api.ada["refresh_token"][:-1], api.feed.api_key, "é", "x" * 9_000):
            answer = await api.revoke(token)
            assert (answer.status_code, answer.content) == (200, b"")
        twice = (api.revoke(api.ada["refresh_token"]) for _ in range(2))
        assert await statuses(*twice) == [200, 200]
        granted = (await api.service_token(api.feed)).json()
        await assert_refused("unsupported_token_type", api.revoke(granted["access_token"]))

    async def test_credentials_that_are_sent_have_to_be_right(self, api: OAuthApi) -> None:
        """None are required."""
        token = api.ada["refresh_token"]
        secret = {"token": token, "client_secret": api.feed.api_key}
        wrong = api.revoke(token, auth=(api.feed.id, "x")), api.post(REVOKE, data=secret)
        await assert_refused("invalid_client", *wrong)
        assert await statuses(api.refresh(token), api.revoke(token, auth=api.basic)) == [200, 200]
        await assert_refused("invalid_request", api.post(REVOKE, data={}))


class TestOpenApi:
    """The document from which clients are generated."""

    async def test_forms_refusals_and_credentials_are_described(self, api: OAuthApi) -> None:
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
