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
from auth_service.services.administer import delete_service
from auth_service.services.authenticate import WrongKey, authenticate
from auth_service.services.keys import revoke_key
from auth_service.services.model import SCOPES, ApiKey, IssuedKey
from auth_service.settings import ApiSettings
from blog_service.settings import ApiSettings as BlogSettings
from contracts.tokens import AccessToken, TokenVerifier
from service_kit.process.actors import operator_actor
from service_kit.process.rates import Rate
from tests.support.auth_api import (
    AuthApi,
    Signed,
    assert_problem,
    bearer,
    serving,
    signed_up,
)
from tests.support.blog_api import blog_api
from tests.support.builders import SOURCE
from tests.support.in_turn import in_turn

ACTOR = operator_actor("test")
TOKEN, INTROSPECT, REVOKE = "/oauth/token", "/oauth/introspect", "/oauth/revoke"
GRANT = {"grant_type": "client_credentials"}
CHALLENGE = 'Basic realm="usersync"'
INACTIVE = {"active": False}

Credentials = tuple[str, str]
FEED_SCOPES = ("posts:write", "users:reconcile")


@pytest.fixture
async def feed(api: AuthApi) -> IssuedKey:
    """A service account with two of the scopes, and its key."""
    return await api.create_service("feed", *FEED_SCOPES)


@pytest.fixture
async def ada(api: AuthApi) -> Signed:
    return await signed_up(api, "ada@example.org")


@pytest.fixture
async def strict(api_settings: ApiSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API with small limits."""
    names = ("limit_token", "limit_introspect", "limit_refresh")
    limits = {name: Rate(3, 600) for name in names}
    async with serving(api_settings.model_copy(update=limits)) as client:
        yield client


def basic(issued: IssuedKey) -> Credentials:
    return issued.id, issued.api_key


async def introspected(api: AuthApi, issued: IssuedKey, token: str) -> dict[str, Any]:
    answer = await api.post(INTROSPECT, data={"token": token}, auth=basic(issued))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def verified(api: AuthApi, token: str) -> AccessToken:
    jwks = (await api.get("/.well-known/jwks.json")).json()
    return TokenVerifier.from_jwks(jwks, issuer=SOURCE, audience="blog").verify(token)


def described(token: AccessToken) -> dict[str, Any]:
    """What introspection says of any active token."""
    return {
        "active": True,
        "iss": SOURCE,
        "aud": "blog",
        "exp": token.expires_at,
        "iat": token.issued_at,
        "jti": token.jti,
        "token_type": "Bearer",
    }


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

    async def test_a_service_gets_a_token_for_itself(self, api: AuthApi, feed: IssuedKey) -> None:
        """Ten minutes, all its scopes, no refresh token; of a service and of no user."""
        answer = await api.service_token(feed)

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

    async def test_it_may_ask_for_less_but_not_for_more(
        self, api: AuthApi, feed: IssuedKey
    ) -> None:
        answer = await api.service_token(feed, scope="posts:write posts:write")
        assert answer.json()["scope"] == "posts:write"
        token = await verified(api, answer.json()["access_token"])
        assert token.scopes == {"posts:write"}
        refused = ("replays:write", "posts:write replays:write", "admin", "posts:write  ", "é", " ")
        for scope in refused:
            assert_refused(await api.service_token(feed, scope=scope), "invalid_scope")

    async def test_all_wrong_credentials_get_the_same_response(
        self, api: AuthApi, feed: IssuedKey
    ) -> None:
        other = await api.create_service("other", *FEED_SCOPES)
        revoked = await api.create_service("revoked", *FEED_SCOPES)
        await revoke_key(api.engine, revoked.key_id, actor=ACTOR)
        expired = await api.create_service("expired", *FEED_SCOPES)
        await api.execute(
            f"UPDATE api_keys SET expires_at = now() WHERE key_id = '{expired.key_id}'"
        )
        deleted = await api.create_service("deleted", *FEED_SCOPES)
        await delete_service(api.engine, deleted.id, actor=ACTOR)
        wrong: list[Credentials] = [
            *((feed.id, key) for key in (other.api_key, ApiKey.new().text, feed.api_key[:-1], "")),
            *((service_id, feed.api_key) for service_id in ("svc_0000000000000000", "feed", "")),
            ("", ""),
            ("x" * 400, "y" * 400),
            *map(basic, (revoked, expired, deleted)),
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
        for service_id, key in (
            (feed.id, feed.api_key),
            ("svc_0000000000000000", feed.api_key),
            (feed.id, ApiKey.new().text),
            ("", ApiKey.new().text),
        ):
            work.clear()
            with pytest.raises(WrongKey):
                await authenticate(auth_engine, secrets, service_id=service_id, api_key=key)
            assert work == ["query", "comparison"]

    async def test_what_clients_may_send_is_accepted(self, api: AuthApi, feed: IssuedKey) -> None:
        """Encoded credentials (RFC 6749 2.3.1), a charset, unknown parameters, the same id."""
        service_id, api_key = [
            "".join(f"%{byte:02x}" for byte in each.encode()) for each in basic(feed)
        ]
        headers = {"Content-Type": f"{MEDIA_TYPE.title()} ; charset=UTF-8"}
        body = b"grant_type=client_credentials&resource=x&scope="
        for answer in (
            await api.post(TOKEN, data=GRANT, auth=(service_id, api_key)),
            await api.post(TOKEN, content=body, headers=headers, auth=basic(feed)),
            await api.service_token(feed, client_id=feed.id),
        ):
            assert answer.status_code == 200

    async def test_other_grants_and_other_ways_are_refused(
        self, api: AuthApi, feed: IssuedKey
    ) -> None:
        """With the right key: each by its own error, and two ways of showing the key at once."""
        for form, error in (
            ({}, "invalid_request"),
            ({"grant_type": ""}, "invalid_request"),
            ({"grant_type": "password", "username": "a"}, "unsupported_grant_type"),
            ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
            ({"grant_type": "CLIENT_CREDENTIALS"}, "unsupported_grant_type"),
            ({**GRANT, "client_id": "svc_0000000000000000"}, "invalid_request"),
            ({**GRANT, "client_secret": feed.api_key}, "invalid_request"),
            ({**GRANT, "client_assertion": "x"}, "invalid_request"),
            ({**GRANT, "client_assertion_type": "x"}, "invalid_request"),
        ):
            assert_refused(await api.post(TOKEN, data=form, auth=basic(feed)), error)
        header = ("Authorization", httpx.BasicAuth(*basic(feed))._auth_header)
        twice = await api.post(TOKEN, data=GRANT, headers=[header, header])
        assert_refused(twice, "invalid_request")

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
    async def test_another_form_is_refused(
        self, api: AuthApi, feed: IssuedKey, media_type: str, body: bytes
    ) -> None:
        """One media type, each parameter once, bounded."""
        headers = {"Content-Type": media_type}
        answer = await api.post(TOKEN, content=body, headers=headers, auth=basic(feed))
        assert_refused(answer, "invalid_request")

    async def test_no_log_line_holds_a_key(self, api: AuthApi, feed: IssuedKey) -> None:
        await revoke_key(api.engine, feed.key_id, actor=ACTOR)

        with structlog.testing.capture_logs() as logs:
            await api.service_token(feed)
            await api.get("/v1/me", headers={"Authorization": f"Bearer {feed.api_key}"})

        key = ApiKey.parse(feed.api_key)
        assert key is not None
        assert key.secret not in str(logs)
        assert {"event": "api_key.refused", "key_id": key.id, "log_level": "info"} in [
            {name: line[name] for name in ("event", "key_id", "log_level") if name in line}
            for line in logs
        ]


async def test_an_api_key_is_good_for_nothing_else(
    api: AuthApi, blog_url: str, public_pem: str, feed: IssuedKey
) -> None:
    """No bearer token, refresh token or password; and never in a form or address, for logs."""
    headers = {"Authorization": f"Bearer {feed.api_key}"}
    settings = BlogSettings(database_url=blog_url, public_key=public_pem, issuer=SOURCE)
    async with blog_api(settings) as blog:
        there = await blog.get("/v1/me", headers=headers)
    here = [await api.get(path, headers=headers) for path in ("/v1/me", "/v1/admin/services")]
    for answer in (*here, there):
        assert_problem(answer, 401, "invalid_token")

    by_basic = await api.get("/v1/admin/services", auth=basic(feed))
    assert_problem(by_basic, 401, "authentication_required")
    shown = {"client_id": feed.id, "client_secret": feed.api_key}
    for answer in (
        await api.post(TOKEN, data={**GRANT, **shown}),
        await api.post(TOKEN, data=GRANT, params=shown),
        await api.post(TOKEN, params={**GRANT, **shown}, data=GRANT),
        await api.post(INTROSPECT, data={"token": "x", **shown}),
        await api.post(INTROSPECT, data={"token": "x"}, params=shown),
    ):
        assert_refused(answer, "invalid_client")
    assert_refused(await api.refresh(feed.api_key), "invalid_grant")
    signed_in = await api.sign_in(f"{feed.id}@example.org", feed.api_key)
    assert_problem(signed_in, 401, "invalid_credentials")


class TestRefresh:
    """``grant_type=refresh_token``: the next pair of tokens in a session."""

    async def test_a_session_is_refreshed(self, api: AuthApi, ada: Signed) -> None:
        answer = await api.refresh(ada["refresh_token"], client_id="first_party")

        body = answer.json()
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Pragma"] == "no-cache"
        assert body.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
        assert body["refresh_token"] != ada["refresh_token"]
        assert (await api.me(body)).json() == ada["user"]
        assert (await api.refresh(body["refresh_token"])).status_code == 200
        old, new = [await verified(api, each["access_token"]) for each in (ada, body)]
        assert old.session_id == new.session_id

    async def test_an_invalid_grant_is_refused_as_such(self, api: AuthApi, ada: Signed) -> None:
        """Garbage, another kind of token, an ended session, a disabled user: one response."""
        bob = await signed_up(api, "bob@example.org")
        await api.post("/v1/signout", headers=bearer(bob))
        wrong = ("x", "é", "rt_" + "A" * 70, ada["access_token"], ada["refresh_token"][:-1])
        answers = [await api.refresh(token) for token in (*wrong, bob["refresh_token"])]
        await api.execute("UPDATE users SET status = 'disabled'")
        answers.append(await api.refresh(ada["refresh_token"]))

        for answer in answers:
            assert_refused(answer, "invalid_grant")
        assert len({answer.content for answer in answers}) == 1

    async def test_other_parameters_are_refused(
        self, api: AuthApi, feed: IssuedKey, ada: Signed
    ) -> None:
        """A service has no refresh tokens, not even a stolen one; the token stays valid."""
        for changes, error in (
            ({"refresh_token": ""}, "invalid_request"),
            ({"scope": "posts:write"}, "invalid_scope"),
            ({"client_id": "svc_0000000000000000"}, "invalid_client"),
            ({"client_secret": "x"}, "invalid_client"),
        ):
            form = {"refresh_token": ada["refresh_token"], **changes}
            answer = await api.post(TOKEN, data={"grant_type": "refresh_token", **form})
            assert_refused(answer, error)
        form = {"grant_type": "refresh_token", "refresh_token": ada["refresh_token"]}
        right = await api.post(TOKEN, data=form, auth=basic(feed))
        wrong = await api.post(TOKEN, data=form, auth=(feed.id, "x"))
        assert_refused(right, "unauthorized_client")
        assert_refused(wrong, "invalid_client")
        assert (await api.refresh(ada["refresh_token"])).status_code == 200


class TestLimits:
    async def test_a_service_spends_its_own_limit(self, strict: AuthApi, feed: IssuedKey) -> None:
        other = await strict.create_service("other", *FEED_SCOPES)

        answers = [await strict.service_token(feed) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert "r=2" in answers[0].headers["RateLimit"]
        refused = assert_problem(answers[3], 429, "too_many_requests")
        assert refused["violated-policies"] == ["client_credentials"]
        assert int(answers[3].headers["Retry-After"]) > 0
        assert (await strict.service_token(other)).status_code == 200

    async def test_no_flood_stops_what_has_a_limit_of_its_own(
        self, strict: AuthApi, feed: IssuedKey
    ) -> None:
        """Wrong keys, revocations and refreshes stop no service, and services no refresh."""
        ada = await signed_up(strict, "ada@example.org")
        wrong = [await strict.service_token(feed, key=ApiKey.new().text) for _ in range(4)]
        revoked = [await strict.post(REVOKE, data={"token": "x"}) for _ in range(4)]
        assert [answer.status_code for answer in wrong] == [401, 401, 401, 429]
        assert [answer.status_code for answer in revoked] == [200, 200, 200, 429]
        assert (await strict.service_token(feed)).status_code == 200

        for path, form in ((TOKEN, GRANT), (INTROSPECT, {"token": "x"})):
            for auth in (basic(feed), (feed.id, ApiKey.new().text)):
                answers = [await strict.post(path, data=form, auth=auth) for _ in range(4)]
                assert answers[-1].status_code == 429
        token = ada["refresh_token"]
        for _ in range(3):
            token = (await strict.refresh(token)).json()["refresh_token"]
        assert_problem(await strict.refresh(token), 429, "too_many_requests")
        other = await strict.create_service("other", *FEED_SCOPES)
        assert (await strict.service_token(other)).status_code == 200


class TestIntrospect:
    """``POST /oauth/introspect``."""

    async def test_a_users_token(self, api: AuthApi, feed: IssuedKey, ada: Signed) -> None:
        await api.execute("UPDATE users SET roles = '{operator,admin}'")
        token = (await api.sign_in()).json()["access_token"]

        answer = await api.post(INTROSPECT, data={"token": token}, auth=basic(feed))

        claims = await verified(api, token)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json() == {
            **described(claims),
            "sub": ada["user"]["id"],
            "client_id": "first_party",
            "roles": ["admin", "operator"],
            "sid": str(claims.session_id),
        }

    async def test_a_services_token(self, api: AuthApi, feed: IssuedKey) -> None:
        token = (await api.service_token(feed)).json()["access_token"]

        body = await introspected(api, feed, token)

        of_service = {"sub": feed.id, "client_id": feed.id, "scope": "posts:write users:reconcile"}
        assert body == described(await verified(api, token)) | of_service

    async def test_a_revoked_token_is_inactive(self, api: AuthApi, feed: IssuedKey) -> None:
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
            user = await signed_up(api, f"user{n}@example.org")
            assert (await introspected(api, feed, user["access_token"]))["active"]
            await api.execute(change)
            assert await introspected(api, feed, user["access_token"]) == INACTIVE, change
        other = await api.create_service("other", *FEED_SCOPES)
        token = (await api.service_token(other)).json()["access_token"]
        await delete_service(api.engine, other.id, actor=ACTOR)
        assert await introspected(api, feed, token) == INACTIVE

    async def test_other_texts_are_inactive(
        self, api: AuthApi, feed: IssuedKey, ada: Signed
    ) -> None:
        signature = ada["access_token"].rpartition(".")[2]
        forged = ada["access_token"].replace(signature, signature[::-1])
        texts = (ada["refresh_token"], feed.api_key, ada["user"]["id"], "x", "é\x00", "x" * 9_000)
        for token in (forged, *texts):
            assert await introspected(api, feed, token) == INACTIVE

    async def test_only_services_may_ask(self, api: AuthApi, feed: IssuedKey, ada: Signed) -> None:
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
        self, api: AuthApi, ada: Signed, kind: str
    ) -> None:
        other = (await api.sign_in()).json()

        answer = await api.post(REVOKE, data={"token": ada[kind], "token_type_hint": "x"})

        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Cache-Control"] == "no-store"
        assert_refused(await api.refresh(ada["refresh_token"]), "invalid_grant")
        assert_problem(await api.me(ada), 401, "invalid_token")
        assert (await api.me(other)).status_code == 200
        assert (await api.refresh(other["refresh_token"])).status_code == 200
        ended = await api.fetch("SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL")
        assert [row.end_reason for row in ended] == ["revoked"]

    async def test_an_unknown_token_gets_200_and_a_services_an_error(
        self, api: AuthApi, feed: IssuedKey, ada: Signed
    ) -> None:
        """RFC 7009 2.2: nothing is left to do; 2.2.1: an error is better than a false success."""
        for token in ("x", ada["refresh_token"][:-1], feed.api_key, "é", "x" * 9_000):
            answer = await api.post(REVOKE, data={"token": token})
            assert (answer.status_code, answer.content) == (200, b"")
        twice = [await api.post(REVOKE, data={"token": ada["refresh_token"]}) for _ in range(2)]
        assert [answer.status_code for answer in twice] == [200, 200]
        granted = await api.service_token(feed)
        answer = await api.post(REVOKE, data={"token": granted.json()["access_token"]})
        assert_refused(answer, "unsupported_token_type")

    async def test_credentials_that_are_sent_have_to_be_right(
        self, api: AuthApi, feed: IssuedKey, ada: Signed
    ) -> None:
        """None are required."""
        form = {"token": ada["refresh_token"]}

        wrong = await api.post(REVOKE, data=form, auth=(feed.id, "x"))
        in_the_form = await api.post(REVOKE, data={**form, "client_secret": feed.api_key})
        alive = await api.refresh(ada["refresh_token"])
        right = await api.post(REVOKE, data=form, auth=basic(feed))

        assert_refused(wrong, "invalid_client")
        assert_refused(in_the_form, "invalid_client")
        assert (alive.status_code, right.status_code) == (200, 200)
        assert_refused(await api.post(REVOKE, data={}), "invalid_request")


class TestOpenApi:
    """The document from which clients are generated."""

    async def test_forms_refusals_and_credentials_are_described(self, api: AuthApi) -> None:
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
