"""Headers and errors that all responses have in common, expected or not."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DBAPIError
from starlette.routing import Route

from auth_service.problems import EMAIL_TAKEN
from service_kit.http import problems
from service_kit.http.body_limits import LimitedBody
from service_kit.http.middleware import install
from service_kit.http.openapi import TOKEN, documented
from service_kit.http.probes import health_routes
from service_kit.http.problems import MEDIA_TYPE, Problem
from service_kit.process.telemetry import request_id

JSON = {"Content-Type": "application/json"}
ORIGIN = "https://blog.example"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
LOG = structlog.get_logger()


class Note(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid")

    text: str
    number: int = 0


class Refused(Exception):
    """A domain error of the service."""


class RefusedAtLength(Exception):
    """A domain error that maps to more than a code."""


async def nothing() -> None:
    """Do nothing, as a check that succeeds."""


def an_app(*origins: str, body_seconds_max: float = 5) -> FastAPI:
    app = FastAPI(telemetry={"tracing": False})
    install(
        app,
        refusals={
            Refused: EMAIL_TAKEN,
            RefusedAtLength: lambda _: Problem(problems.BUSY, headers={"Retry-After": "9"}),
        },
        cors_origins=origins,
        body_bytes_max=1024,
        body_seconds_max=body_seconds_max,
    )

    @app.get("/fine")
    async def fine() -> dict[str, str | None]:
        LOG.info("test.inside")
        return {"id": request_id.get()}

    @app.post("/notes", responses=documented(*TOKEN, EMAIL_TAKEN))
    async def notes(body: Note) -> Note:
        return body

    @app.get("/fails/{how}")
    async def fails(how: str) -> None:
        raise {
            "surprise": RuntimeError("ada@secret.example"),
            "refused": Refused("ada@secret.example"),
            "at-length": RefusedAtLength("ada@secret.example"),
            "token": Problem(problems.INVALID_TOKEN),
            "away": OSError("ada@secret.example"),
            "surrogate": Problem(
                problems.INVALID_REQUEST, errors=[{"pointer": "/body/\ud800", "detail": "wrong"}]
            ),
            "text": DBAPIError("ada@secret.example", {}, NoText()),
        }[how]

    @app.get("/kept")
    async def kept() -> StreamingResponse:
        return StreamingResponse(iter(["x"]), headers={"cache-control": "max-age=60"})

    app.router.routes.extend(health_routes(ready=nothing, refresh=nothing))
    return app


class NoText(Exception):
    sqlstate = "22021"


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(an_app(ORIGIN)) as client:
        yield client


RESPONSES: list[tuple[str, str, dict[str, Any], int]] = [
    *(("GET", path, {}, 200) for path in ("/fine", "/kept", "/livez", "/metrics")),
    *(("HEAD", path, {}, 200) for path in ("/fine", "/kept", "/livez", "/readyz")),
    *(("GET", path, {}, 404) for path in ("/nowhere", "/fine/")),
    *(("HEAD", path, {}, 404) for path in ("/nowhere", "/livez/")),
    *(("POST", path, {}, 405) for path in ("/livez", "/fine")),
    ("HEAD", "/notes", {}, 405),
    ("HEAD", "/fails/token", {}, 401),
    ("POST", "/notes/", {"json": {"text": "a"}}, 404),
    ("POST", "/notes", {"json": {}}, 422),
    ("POST", "/notes", {"content": b"x" * 2000}, 413),
    ("GET", "/fails/token", {}, 401),
    ("GET", "/fails/refused", {}, 409),
    ("GET", "/fails/surprise", {}, 500),
    ("GET", "/fails/away", {}, 503),
    ("GET", "/fails/text", {}, 422),
]


@pytest.mark.parametrize(("method", "path", "sent", "status"), RESPONSES)
async def test_every_response_has_a_request_id_and_security_headers(
    client: httpx.AsyncClient, method: str, path: str, sent: dict[str, Any], status: int
) -> None:
    """Including errors, probes and unexpected failures; an allowed origin can read all of them."""
    response = await client.request(method, path, headers={"Origin": ORIGIN}, **sent)

    assert response.status_code == status
    assert re.fullmatch(UUID, response.headers["X-Request-ID"])
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == ("max-age=60" if path == "/kept" else "no-store")
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Server" not in response.headers
    assert "secret" not in response.text
    assert "Location" not in response.headers
    if method == "HEAD":
        assert response.content == b""
    elif status >= 400:
        problem = response.json()
        assert response.headers["Content-Type"] == MEDIA_TYPE
        assert problem["status"] == status
        assert problem["instance"] == f"urn:usersync:request:{response.headers['X-Request-ID']}"
    if status in (401, 503):
        assert response.headers["WWW-Authenticate" if status == 401 else "Retry-After"]


async def test_head_returns_the_headers_of_get(client: httpx.AsyncClient) -> None:
    """Length and type are the same, and Allow names both methods."""
    head, get = await client.head("/fails/at-length"), await client.get("/fails/at-length")
    refused = await client.post("/fine")
    for name in ("Content-Length", "Content-Type", "Retry-After"):
        assert head.headers[name] == get.headers[name]
    assert refused.headers["Allow"] == "GET, HEAD"


async def test_a_domain_error_can_map_to_a_whole_problem(client: httpx.AsyncClient) -> None:
    response = await client.get("/fails/at-length")
    assert (response.status_code, response.json()["code"]) == (503, "busy")
    assert response.headers.get_list("Retry-After") == ["9"]


@pytest.mark.parametrize("sent", ["a", "A.b_c-9", "x" * 128])
async def test_a_valid_request_id_is_kept(client: httpx.AsyncClient, sent: str) -> None:
    """In the response and in the context of the request, but not after it."""
    response = await client.get("/fine", headers={"X-Request-ID": sent})
    assert response.headers.get_list("X-Request-ID") == [sent]
    assert response.json() == {"id": sent}
    assert request_id.get() is None


@pytest.mark.parametrize("sent", ["", " ", "x" * 129, "a b", "a\nb", "a;b", "é", 'a"b'])
async def test_an_unsafe_request_id_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    """It would appear in logs and documents."""
    response = await client.get("/fine", headers={b"X-Request-ID": sent.encode()})
    assert re.fullmatch(UUID, response.headers["X-Request-ID"])


async def test_every_log_line_of_a_request_has_its_id(client: httpx.AsyncClient) -> None:
    """Including the one about an unexpected error; later lines have none."""
    bind = [structlog.contextvars.merge_contextvars]
    with structlog.testing.capture_logs(processors=bind) as lines:
        await client.get("/fine", headers={"X-Request-ID": "one"})
        await client.get("/fails/surprise", headers={"X-Request-ID": "two"})
        LOG.info("test.outside")

    assert [(line["event"], line.get("request_id")) for line in lines] == [
        ("test.inside", "one"),
        ("http.unexpected", "two"),
        ("test.outside", None),
    ]


class TestCrossOrigin:
    """Requests that browsers send from pages of other origins."""

    async def test_an_allowed_origin_may_send_credentials_and_read_headers(
        self, client: httpx.AsyncClient
    ) -> None:
        """The response names the origin, never a wildcard; so does that to a preflight."""
        response = await client.get("/fine", headers={"Origin": ORIGIN})
        asked = await client.options("/notes", headers=preflight(ORIGIN))
        for each in (response, asked):
            assert each.status_code == 200
            assert each.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in response.headers["Vary"]
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"X-Request-ID", "Retry-After", "RateLimit", "WWW-Authenticate"} <= set(exposed)
        assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]

    async def test_another_origin_is_refused(self) -> None:
        """Without allowed origins there are no CORS headers at all."""
        for allowed, origin in (
            ([], ORIGIN),
            *(([ORIGIN], other) for other in ("https://evil.example", "null")),
            *(([ORIGIN], f"{ORIGIN}{more}") for more in (".evil.example", ":8443")),
        ):
            async with client_of(an_app(*allowed)) as client:
                responses = [
                    await client.get("/fine", headers={"Origin": origin}),
                    await client.options("/notes", headers=preflight(origin)),
                ]

            for response in responses:
                assert "Access-Control-Allow-Origin" not in response.headers, allowed
                assert allowed or "access-control-" not in str(response.headers).lower(), allowed


def preflight(origin: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,content-type",
    }


class TestBodies:
    """Rules for request bodies."""

    @pytest.mark.parametrize("body", [b"", b"{", b'{"text":"\\ud800"}', b'{"text":"a","text":"b"}'])
    async def test_json_that_is_not_strict_is_refused(
        self, client: httpx.AsyncClient, body: bytes
    ) -> None:
        """Before the route is called, for every JSON media type, and beside a second type."""
        both = ("application/json", "text/plain")
        for kinds in (both, both[::-1], ["Application/JSON; charset=x"], ["application/x+json"]):
            headers = [("Content-Type", kind) for kind in kinds]
            response = await client.post("/notes", content=body, headers=headers)
            assert (response.status_code, response.json()["code"]) == (422, "invalid_request")

    async def test_an_unencodable_field_name_does_not_break_the_response(
        self, client: httpx.AsyncClient
    ) -> None:
        response = await client.get("/fails/surrogate")
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/body/\ud800"

    @pytest.mark.parametrize("text", ["grüße", "\U0001f600", "\\u0000 \\ud800", "\n\t", ""])
    async def test_any_valid_text_is_accepted(self, client: httpx.AsyncClient, text: str) -> None:
        """As UTF-8 or escaped, and if it only looks like an escape."""
        for ascii_only in (True, False):
            body = json.dumps({"text": text}, ensure_ascii=ascii_only)
            response = await client.post("/notes", content=body, headers=JSON)
            assert (response.status_code, response.json().get("text")) == (200, text)

    async def test_at_most_twenty_errors_are_returned(self, client: httpx.AsyncClient) -> None:
        wrong = {"text": "a", **{f"x{number}/~": 1 for number in range(60)}}
        response = await client.post("/notes", json=wrong)
        errors = response.json()["errors"]
        assert len(errors) == 20
        assert errors[0]["pointer"] == "/body/x0~1~0"

    async def test_a_body_above_the_limit_is_refused_without_content_length(
        self, client: httpx.AsyncClient
    ) -> None:
        """The limit counts received bytes."""

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 100

        response = await client.post("/notes", content=pieces(), headers=JSON)

        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    async def test_a_body_that_takes_too_long_is_refused(self) -> None:
        """With 408 and a closed connection."""

        async def slow() -> AsyncIterator[bytes]:
            yield b'{"text":'
            await asyncio.Event().wait()

        async with asyncio.timeout(10), client_of(an_app(body_seconds_max=0.05)) as client:
            response = await client.post("/notes", content=slow(), headers=JSON)

        assert (response.status_code, response.json()["code"]) == (408, "request_timeout")
        assert response.headers["Connection"] == "close"

    async def test_the_deadline_ends_with_the_body(self) -> None:
        """A stream may wait longer than that for its client to disconnect."""
        left = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            if left.is_set():
                return {"type": "http.disconnect"}
            left.set()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def late() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "http.disconnect":
                await asyncio.sleep(0.05)
            return message

        seen: list[str] = []

        async def app(_: Any, receive: Callable[..., Any], __: Any) -> None:
            seen.extend([(await receive())["type"], (await receive())["type"]])

        await LimitedBody(app, bytes_max=10, seconds_max=0.01)(
            {"type": "http", "headers": []}, late, late
        )

        assert seen == ["http.request", "http.disconnect"]


def streaming(pieces: AsyncIterator[bytes], *origins: str) -> FastAPI:
    """Return a service that responds with these pieces."""
    app = an_app(*origins)

    async def stream(_: Any) -> StreamingResponse:
        return StreamingResponse(pieces)

    app.router.routes.append(Route("/stream", stream))
    return app


async def test_a_response_is_streamed_piece_by_piece() -> None:
    """The second piece waits here until the first has arrived."""
    arrived, got = asyncio.Event(), []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await arrived.wait()
        yield b"two"

    async def send(message: MutableMapping[str, Any]) -> None:
        if body := message.get("body"):
            got.append(body)
            arrived.set()

    async with asyncio.timeout(10):
        await streaming(pieces(), ORIGIN)(a_scope("/stream"), never, send)

    assert got == [b"one", b"two"]


async def test_a_response_that_fails_midway_is_cut_off() -> None:
    """The server closes the connection, so that the response does not look complete."""
    sent: list[MutableMapping[str, Any]] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError):
        await streaming(pieces())(a_scope("/stream"), never, send)

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"]


async def never() -> MutableMapping[str, Any]:
    """Wait forever, as a client that neither sends nor disconnects."""
    await asyncio.Event().wait()
    raise AssertionError


def a_scope(path: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}}
    return scope | {"method": "GET", "path": path, "query_string": b"", "headers": []}


class TestOpenApi:
    async def test_every_error_is_documented_as_a_problem(self, client: httpx.AsyncClient) -> None:
        """Those of all requests and those of the route, each with an example."""
        document = (await client.get("/openapi.json")).json()

        responses = document["paths"]["/notes"]["post"]["responses"]
        assert set(responses) == {
            *("200", "400", "401", "403", "408", "409", "413", "422", "431", "500", "503")
        }
        for status, response in responses.items():
            assert "X-Request-ID" in response["headers"]
            if status != "200":
                [(media_type, content)] = response["content"].items()
                assert media_type == MEDIA_TYPE
                assert content["schema"] == {"$ref": "#/components/schemas/ProblemBody"}
                for code, example in content["examples"].items():
                    assert example["value"]["code"] == code
                    assert example["value"]["status"] == int(status)
        assert set(responses["401"]["content"][MEDIA_TYPE]["examples"]) == {
            "authentication_required",
            "invalid_token",
        }
        assert "WWW-Authenticate" in responses["401"]["headers"]
        assert "Retry-After" in responses["503"]["headers"]
        assert "HTTPValidationError" not in str(document)

    async def test_a_route_that_documents_token_errors_requires_a_token(
        self, client: httpx.AsyncClient
    ) -> None:
        """Other routes require none. The document never changes, so it has no request id."""
        first, second = [await client.get("/openapi.json") for _ in range(2)]
        paths = first.json()["paths"]
        assert paths["/notes"]["post"]["security"] == [{"accessToken": []}]
        assert "security" not in paths["/fine"]["get"]
        assert first.json() == second.json()
        assert first.headers["X-Request-ID"] not in first.text
