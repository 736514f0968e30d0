"""The blog's service account at the source: where key and tokens are sent, and bad responses.

The source is a fake, because it responds as the real one never would.
"""

import gzip
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic_settings import SettingsConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, Router

from blog_service.settings import ReconcileSettings as SourceSettings
from replica import settings as of_a_replica
from replica.source_client import RESPONSE_BYTES_MAX, Account, NoResponse, NotSetUp
from service_kit.process.telemetry import request_id, traceparent
from tests.support.http_server import served
from tests.support.in_turn import in_turn

THING, TOKEN = "/v1/thing", "/oauth/token"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@dataclass
class Played:
    """A source that responds as a test requires, and records its requests."""

    url: str = ""
    grant: Response | None = None
    """In place of a token."""

    answer: Response = field(default_factory=lambda: JSONResponse({"fine": True}))
    refused: set[str] = field(default_factory=set)
    """Tokens that are good no more."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and Authorization header, in their order."""

    headers: list[dict[str, str]] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)

    async def token(self, request: Request) -> Response:
        self._note(request)
        form = (await request.body()).decode()
        self.scopes.append(form.rpartition("scope=")[2])
        granted = {"access_token": f"token-{len(self.scopes)}", "expires_in": 600}
        return self.grant or JSONResponse(granted)

    async def thing(self, request: Request) -> Response:
        self._note(request)
        await request.body()
        if request.headers["Authorization"].removeprefix("Bearer ") in self.refused:
            return JSONResponse({}, 401)
        return self.answer

    def _note(self, request: Request) -> None:
        self.asked.append((request.url.path, request.headers.get("Authorization", "")))
        self.headers.append(dict(request.headers))


@pytest.fixture
async def source() -> AsyncIterator[Played]:
    played = Played()
    app = Router(
        [
            Route(TOKEN, played.token, methods=["POST"]),
            Route("/{path:path}", played.thing, methods=["GET", "POST"]),
        ]
    )
    with served(app) as server:
        played.url = f"http://127.0.0.1:{server.port}"
        yield played


@pytest.fixture
async def account(source: Played, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Account]:
    """An account there; the environment names a proxy that does not exist."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    settings = SourceSettings(
        _env_file=None,
        database_url="postgresql://blog@db.example/blog",
        auth_url=source.url,
        service_id="svc_blog",
        api_key="secret",
    )
    account = Account(settings, silence_seconds=10)
    yield account
    await account.aclose()


async def ask(account: Account, scope: str = "a:b") -> bytes:
    return await account.whole(await account.send("POST", THING, scope=scope, json={"number": 1}))


async def test_the_key_goes_to_the_token_endpoint_alone(account: Account, source: Played) -> None:
    """Requests send the token, which is reused while it is valid, for its scope."""
    for scope in ("a:b", "a:b", "c:d"):
        assert await ask(account, scope) == b'{"fine":true}'

    basic = "Basic c3ZjX2Jsb2c6c2VjcmV0"
    first, second = (THING, "Bearer token-1"), (THING, "Bearer token-2")
    assert source.asked == [(TOKEN, basic), first, first, (TOKEN, basic), second]
    assert source.scopes == ["a%3Ab", "c%3Ad"]


async def test_a_key_that_is_replaced_in_its_file_is_used(
    source: Played, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No restart is needed to renew a key. A file that is gone is named, and may come back."""
    files = {"BLOG_SERVICE_ID": tmp_path / "service-id", "BLOG_API_KEY": tmp_path / "api-key"}
    for (variable, file), value in zip(files.items(), ("svc_blog", "secret"), strict=True):
        file.write_text(value)
        monkeypatch.setenv(f"{variable}_FILE", str(file))
    account = Account(
        SourceSettings(
            _env_file=None, database_url="postgresql://blog@db.example/blog", auth_url=source.url
        ),
        silence_seconds=10,
    )
    await ask(account, "a:b")
    files["BLOG_API_KEY"].write_text("another\n")
    await ask(account, "c:d")
    files["BLOG_API_KEY"].unlink()
    await ask(account, "c:d")
    with pytest.raises(NoResponse, match="BLOG_API_KEY_FILE: cannot be read"):
        await ask(account, "e:f")
    files["BLOG_API_KEY"].write_text("third")
    await ask(account, "e:f")
    await account.aclose()

    shown = [b64decode(shown.split()[1]).decode() for path, shown in source.asked if path == TOKEN]
    assert shown == ["svc_blog:secret", "svc_blog:another", "svc_blog:third"]


async def test_a_token_about_to_expire_is_not_used(account: Account, source: Played) -> None:
    """It could expire on its way."""
    source.grant = JSONResponse({"access_token": "short", "expires_in": 29})
    await ask(account)
    await ask(account)
    assert [path for path, _ in source.asked] == [TOKEN, THING, TOKEN, THING]


async def test_a_refused_token_is_replaced_once(account: Account, source: Played) -> None:
    """Its key may have been revoked; if the next one is refused too, that is the response."""
    source.refused = {"token-1"}
    first = await ask(account)
    source.refused = {"token-2", "token-3"}

    second = await account.send("GET", THING, scope="a:b")
    await second.aclose()

    assert first == b'{"fine":true}'
    assert second.status_code == 401
    shown = [shown for path, shown in source.asked if path == THING]
    assert shown == [f"Bearer token-{number}" for number in (1, 2, 2, 3)]


async def test_a_request_carries_trace_and_request_id(account: Account, source: Played) -> None:
    request_id.set("request-7")
    traceparent.set(TRACE)
    await ask(account)
    told = source.headers[-1]
    assert (told["x-request-id"], told["traceparent"]) == ("request-7", TRACE)


async def test_no_redirect_and_no_proxy_is_followed(account: Account, source: Played) -> None:
    source.answer = RedirectResponse("/elsewhere")
    answer = await account.send("GET", THING, scope="a:b")
    await answer.aclose()
    source.grant = RedirectResponse("/elsewhere")

    with pytest.raises(NoResponse, match="/oauth/token with status 307"):
        await account.token("c:d")

    assert answer.status_code == 307
    assert [path for path, _ in source.asked] == [TOKEN, THING, TOKEN]


async def test_a_response_of_excessive_length_is_refused(account: Account, source: Played) -> None:
    source.answer = Response(bytes(RESPONSE_BYTES_MAX))
    longest = await ask(account)
    source.answer = Response(bytes(RESPONSE_BYTES_MAX + 1))
    with pytest.raises(NoResponse, match="/v1/thing is not as agreed"):
        await ask(account)
    source.grant = Response(bytes(RESPONSE_BYTES_MAX + 1))
    with pytest.raises(NoResponse, match="/oauth/token is not as agreed"):
        await ask(account, "c:d")

    assert len(longest) == RESPONSE_BYTES_MAX


async def test_a_compressed_response_is_not_decompressed(account: Account, source: Played) -> None:
    """Decompressed, it could be a thousand times longer."""
    packed = gzip.compress(bytes(10 * RESPONSE_BYTES_MAX))
    source.answer = Response(packed, headers={"Content-Encoding": "gzip"})
    assert await ask(account) == packed


@in_turn(
    "granted",
    [
        *({"access_token": token, "expires_in": 600} for token in ("", "a\r\nX-Other: b", "töken")),
        *({"access_token": "fine", "expires_in": seconds} for seconds in ("soon", -1)),
        {},
        ["access_token"],
    ],
)
async def test_a_bad_token_is_not_used(account: Account, source: Played, granted: object) -> None:
    """No part of it is sent anywhere."""
    source.grant = JSONResponse(granted)
    source.asked.clear()
    with pytest.raises(NoResponse, match="/oauth/token is not as agreed"):
        await ask(account)
    assert [path for path, _ in source.asked] == [TOKEN]


class ShopSettings(of_a_replica.SourceSettings):
    """Another service with a replica."""

    model_config = SettingsConfigDict(env_prefix="SHOP_")
    application_name: ClassVar[str] = "shop-service"


async def test_what_fails_names_the_settings_of_the_service_that_asks(source: Played) -> None:
    settings = ShopSettings(
        _env_file=None,
        database_url="postgresql://shop@db.example/shop",
        auth_url=source.url,
        service_id="svc_shop",
        api_key="secret",
    )
    source.grant = JSONResponse({}, 401)
    away = settings.model_copy(update={"auth_url": "http://127.0.0.1:1"})
    for asking, named in ((settings, "SHOP_SERVICE_ID and SHOP_API_KEY"), (away, "SHOP_AUTH_URL")):
        account = Account(asking, silence_seconds=10)
        with pytest.raises(NoResponse, match=named):
            await ask(account)
        await account.aclose()


def test_without_settings_there_is_no_account() -> None:
    """The error names them, and the scopes."""
    settings = SourceSettings(_env_file=None, database_url="postgresql://blog@db.example/blog")
    with pytest.raises(NotSetUp, match="BLOG_AUTH_URL, BLOG_SERVICE_ID and BLOG_API_KEY"):
        Account(settings, silence_seconds=10)
