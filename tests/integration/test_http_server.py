"""The HTTP server against hostile connections: no request blocks others, no resource grows.

The application is small and has no database, because these limits apply before any application.
"""

import asyncio
import gc
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict

from service_kit.http.heads import FIELDS_MAX, HEAD_BYTES_MAX
from service_kit.http.middleware import install
from service_kit.http.protocol import CONNECTIONS_MAX, HttpProtocol
from tests.support.http_server import Server, read_all, served

PAUSE_SECONDS_MAX = 0.020
"""The longest time for which any request may block the event loop, in seconds."""

GET = b"GET /who HTTP/1.1\r\nHost: test\r\n"
CLOSE = b"Connection: close\r\n\r\n"


class Hasty(HttpProtocol):
    """A protocol with limits low enough for a test to reach."""

    head_seconds_max = 0.2
    connections_max = 3


class Counting(HttpProtocol):
    turns: ClassVar[list[int]] = [0]

    def data_received(self, data: bytes) -> None:
        if self.turns[-1] == 0:
            asyncio.get_running_loop().call_soon(self.turns.append, 0)
        self.turns[-1] += len(data)
        super().data_received(data)


class Note(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    number: int = 0


def an_app() -> FastAPI:
    app = FastAPI(telemetry={"tracing": False})
    install(app, refusals={}, cors_origins=(), body_bytes_max=64 * 1024, body_seconds_max=0.3)

    @app.get("/who")
    async def who(request: Request, q: str = "") -> dict[str, Any]:
        assert request.client
        return {"host": request.client.host, "scheme": request.url.scheme, "q": q}

    @app.post("/notes")
    async def notes(body: Note) -> Note:
        return body

    @app.get("/collect")
    async def collect() -> None:
        gc.collect()

    @app.post("/trailers")
    async def trailers(request: Request) -> dict[str, Any]:
        await request.body()
        return {"names": sorted(request.headers)}

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served(an_app()) as server:
        yield server


@pytest.fixture
def hasty() -> Iterator[Server]:
    with served(an_app(), protocol=Hasty) as server:
        yield server


def a_get(address: bytes) -> bytes:
    return b"GET " + address + b" HTTP/1.1\r\nHost: t\r\n" + CLOSE


def a_post(body: bytes, path: bytes = b"/notes", fields: bytes = b"") -> bytes:
    """Return a request with a JSON body; the connection closes after the response."""
    return (
        b"POST " + path + b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body


def chunked(framed: bytes, path: bytes = b"/notes") -> bytes:
    """Return a request with a chunked body, framed as given."""
    return (
        b"POST " + path + b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ) + framed


def status_of(response: bytes) -> int:
    """Return the status of the only response, or 0 if the connection was cut off."""
    assert response.count(b"HTTP/1.1 ") <= 1
    return int(response.split(b" ", 2)[1]) if response else 0


def problem_of(response: bytes) -> dict[str, Any]:
    """Return the problem document of a response, after checking its headers."""
    head, _, body = response.partition(b"\r\n\r\n")
    names = {line.partition(b":")[0].lower(): line for line in head.split(b"\r\n")[1:]}
    document: dict[str, Any] = json.loads(body)
    assert names[b"content-type"] == b"content-type: application/problem+json"
    assert names[b"cache-control"] == b"cache-control: no-store"
    assert b"server" not in names
    assert document["instance"].encode().rpartition(b":")[2] in names[b"x-request-id"]
    assert document["status"] == status_of(response)
    return document


FIELDS = b",".join(b'"%x":1' % number for number in range(6_500))

HOSTILE: dict[str, tuple[bytes, set[int]]] = {
    # 0: the client is cut off while it still sends, and may not receive the response.
    "a header of 10 MB": (GET + b"X: " + b"a" * 10_000_000, {431, 0}),
    "a header of 17 KB": (GET + b"X: " + b"a" * 17_000 + b"\r\n" + CLOSE, {431}),
    "an address of 1 MB": (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + CLOSE, {431, 0}),
    "an address of 9 KB": (b"GET /who?q=" + b"a" * 9_000 + b" HTTP/1.1\r\n" + CLOSE, {431}),
    "101 headers": (GET + b"a:b\r\n" * (FIELDS_MAX - 1) + CLOSE, {431}),
    "200,000 headers": (GET + b"a:b\r\n" * 200_000 + CLOSE, {431, 0}),
    "2 MB before the request": (b"\r\n" * 1_000_000 + GET + CLOSE, {431, 0}),
    "8 KB of parameters": (a_get(b"/who?" + b"%41&" * 2_000), {200}),
    "8 KB of escapes": (a_get(b"/" + b"%41" * 2_700), {404}),
    "16 KB of cookies": (GET + b"Cookie: " + b"a=b;" * 3_900 + b"\r\n" + CLOSE, {200}),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100, {400}),
    "two lengths": (a_post(b"{}", fields=b"Content-Length: 20\r\n"), {400}),
    "length and chunks": (a_post(b"{}", fields=b"Transfer-Encoding: chunked\r\n"), {400}),
    "no chunk": (chunked(b"zz\r\n"), {400}),
    "200,000 chunks of a byte": (chunked(b"1\r\nx\r\n" * 200_000), {413, 0}),
    "10,001 pieces of white space": (chunked(b"1\r\n \r\n" * 10_001), {413}),
    "the extension of a chunk": (chunked(b"1;" + b"x" * 10_000_000), {408, 0}),
    "200,000 trailers": (chunked(b"2\r\n{}\r\n0\r\n" + b"a:b\r\n" * 200_000), {431, 0}),
    "64 KB of brackets": (a_post(b"[" * 65_000), {422}),
    "64 KB of objects in objects": (a_post(b'{"a":' * 13_000), {422}),
    "20,000 objects": (a_post(b'{"text":[' + b"{}," * 20_000 + b"1]}"), {422}),
    "20,000 lists and an escape": (a_post(b'{"text":[' + b"[]," * 20_000 + b'"\\u0041"]}'), {422}),
    "30,000 numbers": (a_post(b'{"text":[' + b"1," * 30_000 + b"1]}"), {422}),
    "6,500 unknown fields": (a_post(b'{"text":"a",' + FIELDS + b"}"), {422}),
    "a number of 60,000 digits": (a_post(b'{"text":"a","number":' + b"9" * 60_000 + b"}"), {422}),
    "a number of 4,000 digits": (a_post(b'{"text":"a","number":' + b"9" * 4_000 + b"}"), {422}),
    "a number out of range": (a_post(b'{"text":"a","number":1e99999999}'), {422}),
    "half a surrogate pair": (a_post(b'{"text":"\\ud800"}'), {422}),
    "a NUL": (a_post(b'{"text":"\\u0000"}'), {422}),
    "no UTF-8": (a_post(b'{"text":"\xff\xfe"}'), {422}),
    "60 KB of quotes": (a_post(b'{"text":"' + b'\\"' * 30_000 + b'\\u0041"}'), {200}),
    "20 MB": (a_post(b"a" * 20_000_000), {413, 0}),
}


@pytest.mark.parametrize(("sent", "statuses"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_requests_never_block_the_loop_or_cause_a_500(
    server: Server, sent: bytes, statuses: set[int]
) -> None:
    """They block other requests for at most 20 ms, in the best of three attempts."""
    for _ in until_the_loop_stays_responsive(server):
        response = server.exchange(sent)
        status = status_of(response)
        assert status in statuses
        if status >= 400:
            problem_of(response)
    assert status_of(server.exchange(GET + CLOSE)) == 200


def test_pipelined_requests_are_answered_in_turn(server: Server) -> None:
    """Even 3,000 of them do not block the event loop."""
    requests = 3_000
    for _ in until_the_loop_stays_responsive(server):
        response = server.exchange((GET + b"\r\n") * (requests - 1) + GET + CLOSE)
        assert response.count(b"HTTP/1.1 200 OK") == response.count(b"HTTP/1.1 ") == requests


def until_the_loop_stays_responsive(server: Server) -> Iterator[None]:
    """Repeat up to three times, until one round blocks the event loop only briefly."""
    pauses = []
    for _ in range(3):
        server.forget_pauses()
        yield
        pauses.append(server.longest_pause_seconds())
        if pauses[-1] < PAUSE_SECONDS_MAX:
            return
    pytest.fail(f"the event loop was blocked for {min(pauses) * 1000:.0f} ms at best")


def test_garbage_collection_does_not_block_the_loop(server: Server) -> None:
    """Any request may trigger a full collection; objects that the start created are exempt."""
    for _ in until_the_loop_stays_responsive(server):
        assert status_of(server.exchange(a_get(b"/collect"))) == 200


def test_a_fast_sender_takes_turns_with_other_connections() -> None:
    """The server parses what one read of the socket returns, then lets others run."""
    Counting.turns[:] = [0]
    with served(an_app(), protocol=Counting) as server:
        head = b"POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 10000000\r\n\r\n"
        responses = server.exchange(head + b"x" * 10_000_000 + GET + CLOSE)
    assert re.findall(rb"HTTP/1.1 (\d+)", responses) == [b"413", b"200"]
    assert sum(Counting.turns) > 2_000_000
    assert max(Counting.turns) <= 512 * 1024


def test_a_head_within_the_limits_is_accepted(server: Server) -> None:
    """With as many headers and bytes as the limits allow, in one piece or byte by byte."""
    head = GET + b"a:b\r\n" * (FIELDS_MAX - 3) + b"Authorization: Bearer " + b"x" * 8192 + b"\r\n"
    assert len(head) < HEAD_BYTES_MAX

    assert status_of(server.exchange(head + CLOSE)) == 200
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(200):
            connection.sendall((GET + CLOSE)[start : start + 1])
        assert status_of(read_all(connection)) == 200


def test_a_few_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """The heads and bodies of one connection do not add up to a limit."""
    body = b'{"text":"' + b"a" * 12_000 + b'"}'
    keep = a_post(body, fields=b"X: " + b"a" * 4_000 + b"\r\n")
    keep = keep.replace(b"Connection: close\r\n", b"")
    response = server.exchange(keep * 6 + GET + CLOSE)
    assert response.count(b"HTTP/1.1 200 OK") == 7
    assert response.endswith(b'{"host":"127.0.0.1","scheme":"http","q":""}')


def test_a_refusal_is_not_mistaken_for_the_response_to_an_earlier_request(server: Server) -> None:
    """A malformed request behind a good one closes the connection without a response of its own."""
    response = server.exchange(GET + b"\r\n" + b"rubbish\r\n\r\n")
    assert b"HTTP/1.1 4" not in response


def test_trailers_are_not_treated_as_headers(server: Server) -> None:
    """No proxy in front has checked what follows the body."""
    framed = b"2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
    response = server.exchange(chunked(framed, b"/trailers"))
    names = json.loads(response.partition(b"\r\n\r\n")[2])["names"]
    assert "host" in names
    assert "authorization" not in names


@pytest.mark.parametrize(
    "sent", [chunked(b"1\r\n{\r\n"), b"GET /who HTTP/1.1\r\nX: a", b"G", GET + b"\r\nGET /wh"]
)
def test_what_arrives_too_slowly_is_refused(hasty: Server, sent: bytes) -> None:
    """With 408 and a closed connection: a body, a head, and a second head as well."""
    response = hasty.exchange(sent)
    if sent.startswith(GET + b"\r\n"):
        first, _, response = response.partition(b"}")
        assert first.startswith(b"HTTP/1.1 200 ")
    assert problem_of(response)["code"] == "request_timeout"


def test_an_idle_connection_is_closed_without_a_response(hasty: Server) -> None:
    """Browsers open connections in advance."""
    assert hasty.exchange(b"") == b""


def test_a_connection_closes_while_an_unread_body_is_still_sent(hasty: Server) -> None:
    """After the response the rest of the body may arrive for a limited time."""
    started = time.monotonic()
    with hasty.connect() as connection:
        connection.settimeout(0.02)
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\n")
        response = b""
        is_open = True
        while is_open and time.monotonic() < started + 5:
            try:
                connection.sendall(b"x")
                response += (read := connection.recv(65536))
                is_open = bool(read)
            except TimeoutError:
                pass
            except ConnectionError:
                is_open = False

    assert status_of(response) == 404
    assert not is_open


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (a_post(b"a" * 5_000_000), 413),
        (GET + b"X: " + b"a" * 5_000_000, 431),
        (GET + b"X : y\r\n\r\n" + b"a" * 5_000_000, 400),
    ],
)
def test_a_refusal_reaches_a_sending_client(server: Server, sent: bytes, status: int) -> None:
    """The connection is not reset before the client can read the response."""
    assert status_of(server.exchange(sent)) == status


def test_a_client_that_sends_on_after_a_refusal_is_cut_off(server: Server) -> None:
    """After a while, even if the client has not read the response."""
    with server.connect() as connection:
        connection.sendall(b"GET\r\n")
        with pytest.raises(ConnectionError):
            send_until_refused(connection)


def send_until_refused(connection: socket.socket) -> None:
    """Send with short pauses until the server closes the connection."""
    while True:
        connection.sendall(b"a" * 65536)
        time.sleep(0.01)


def test_connections_are_limited(hasty: Server) -> None:
    """Clients beyond the limit get 503; closing a connection makes room."""
    with hasty.connect() as first, hasty.connect() as second, hasty.connect() as third:
        for connection in (first, second, third):
            connection.sendall(GET + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert problem_of(hasty.exchange(b""))["code"] == "busy"

    while (status := status_of(hasty.exchange(GET + CLOSE))) in (503, 0):
        pass  # until the server notices that they are closed
    assert status == 200
    assert CONNECTIONS_MAX < 1024 - 100


class TestTrustedProxies:
    @pytest.mark.parametrize(
        ("trusted", "seen"),
        [
            # By default they are ignored, even from this machine.
            ([], ("127.0.0.1", "http")),
            # A client can forge every address before the last one of no trusted proxy.
            (["127.0.0.0/8", "10.0.0.0/8"], ("203.0.113.7", "https")),
            # The setting is a list of addresses, not a switch.
            (["10.0.0.0/8"], ("127.0.0.1", "http")),
        ],
    )
    def test_forwarded_headers_of_trusted_proxies_count(
        self, trusted: list[str], seen: tuple[str, str]
    ) -> None:
        forwarded = (
            b"X-Forwarded-For: 198.51.100.66, 203.0.113.7, 10.1.1.1\r\n"
            b"X-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Proto: https\r\n"
        )
        with served(an_app(), trusted_proxies=trusted) as server:
            response = server.exchange(GET + forwarded + CLOSE)
        body = json.loads(response.partition(b"\r\n\r\n")[2])
        assert (body["host"], body["scheme"]) == seen
