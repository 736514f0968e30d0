"""The server behind real proxies, configured as `docs/deploy-behind-a-proxy.md` says.

A proxy reuses one connection for many clients: an extra response, or one request that is read as
two, would reach another client.
"""

import asyncio
import json
import ssl
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import pytest
from fastapi import FastAPI, Request

from service_kit.http.middleware import install
from service_kit.http.protocol import HttpProtocol
from tests.support.http_server import read_all, served
from tests.support.reverse_proxies import ADDRESS, COMPOSE, PROXIES, Proxy, proxied
from tests.unit.test_http_messages import OFFERS, SMUGGLED, chunks, length

AUTH, BLOG = "auth.example.org", "blog.example.org"

LARGE = b"x" * 40_000


class Counting(HttpProtocol):
    made: ClassVar[int] = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        Counting.made += 1
        super().connection_made(transport)


def an_app() -> FastAPI:
    app = FastAPI(telemetry={"tracing": False})
    install(app, refusals={}, cors_origins=(), body_bytes_max=64 * 1024, body_seconds_max=5)

    @app.get("/readyz")
    async def readyz() -> None:
        return None

    @app.get("/metrics")
    async def metrics() -> str:
        return "secret"

    @app.api_route("/x", methods=["GET", "POST"])
    async def echo(request: Request, who: str = "") -> dict[str, Any]:
        body = await request.body()
        assert request.client
        return {
            "who": who,
            "body": body.decode(),
            "host": request.client.host,
            "scheme": request.url.scheme,
        }

    return app


@pytest.fixture(scope="module", params=[*PROXIES, COMPOSE])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Run each proxy of the guide, and that of compose, in front of the service."""
    folder = tmp_path_factory.mktemp(request.param)
    with (
        served(an_app(), trusted_proxies=["127.0.0.1"], protocol=Counting) as server,
        proxied(request.param, both_of(server.port), folder, shares=True) as proxy,
    ):
        yield proxy


def both_of(port: int) -> dict[str, list[int]]:
    """Both services, with one instance under both of its addresses."""
    return {"auth": [port, port], "blog": [port, port]}


class Client:
    """A client that sends its requests one after the other on one connection to the proxy."""

    def __init__(self, proxy: Proxy, host: str = AUTH) -> None:
        self._connection: ssl.SSLSocket = proxy.connect(host)
        self._host = host.encode()
        self._unread = b""

    def send(self, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a request in pieces; return status, headers and body of its only response."""
        for number, piece in enumerate(pieces):
            host = piece.replace(b"Host: t\r\n", b"Host: " + self._host + b"\r\n", 1)
            self._connection.sendall(host if number == 0 else piece)
        head = b"HTTP/1.1 100"
        while head.startswith(b"HTTP/1.1 100"):  # a proxy may send this itself
            while b"\r\n\r\n" not in self._unread:
                self._read()
            head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        lines = (line.partition(":") for line in head.decode().split("\r\n")[1:])
        fields = {name.lower(): value.strip() for name, _, value in lines}
        size = 0 if pieces[0].startswith(b"HEAD") else int(fields["content-length"])
        while len(self._unread) < size:
            self._read()
        body, self._unread = self._unread[:size], self._unread[size:]
        return int(head.split(b" ")[1]), fields, body

    def _read(self) -> None:
        piece = self._connection.recv(65536)
        assert piece, "closed without a response"
        self._unread += piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        assert self._unread == b"", "more than one response to a request"


@pytest.mark.parametrize("host", [AUTH, BLOG])
def test_the_proxy_configurations_of_the_guide_work(proxy: Proxy, host: str) -> None:
    """TLS, both hosts, the address of the client, and HEAD requests."""
    forged = b"GET /x?who=me HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
    with Client(proxy, host) as client:
        status, _, body = client.send(forged)
        head, fields, nothing = client.send(b"HEAD /x?who=me HTTP/1.1\r\nHost: t\r\n\r\n")

    seen = json.loads(body)
    assert (status, head, nothing) == (200, 200, b"")
    assert (seen["who"], seen["scheme"], seen["host"]) == ("me", "https", ADDRESS)
    assert int(fields["content-length"]) > 0


METRICS = b"""
    /metrics /metrics?a /metrics#a /metrics/ /metrics/. //metrics /x/../metrics /x/%2e%2e/metrics
    /%6Detrics /%6detrics?a /metrics%3Fa %2fmetrics http://auth.example.org/metrics
    https://auth.example.org/%6detrics https://blog.example.org//metrics
"""


@pytest.mark.parametrize("address", METRICS.split())
def test_a_proxy_does_not_expose_the_metrics(proxy: Proxy, address: bytes) -> None:
    with proxy.connect(AUTH) as connection:
        connection.sendall(
            b"GET " + address + b" HTTP/1.1\r\nHost: auth.example.org\r\nConnection: close\r\n\r\n"
        )
        response = read_all(connection)
    assert response.startswith(b"HTTP/1.1 40")
    assert b"secret" not in response


@pytest.mark.parametrize("offer", OFFERS)
def test_neither_of_two_clients_gets_the_others_response(proxy: Proxy, offer: str) -> None:
    """One client offers upgrades; the other sends a request after each of them."""
    before, number = Counting.made, 0
    with Client(proxy) as one, Client(proxy, BLOG) as other:
        for body in (SMUGGLED, LARGE + SMUGGLED):
            for sent in (length(body, OFFERS[offer]), chunks(body, fields=OFFERS[offer])):
                head, _, rest = sent.partition(b"\r\n\r\n")
                status, _, response = one.send(head + b"\r\n\r\n", rest)
                assert (status, json.loads(response)["body"]) == (200, body.decode())
                number += 1
                assert_own_response(other, number)

    assert Counting.made - before < 2 * number, "the proxy opens a connection for each request"


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        (length(SMUGGLED * 4000), 413),
        (length(SMUGGLED * 1000, line=b"POST /nowhere HTTP/1.1"), 404),
        (length(SMUGGLED * 1000, b"Expect: 100-continue\r\n", b"POST /nowhere HTTP/1.1"), 404),
    ],
)
def test_an_early_response_reaches_no_other_client(proxy: Proxy, sent: bytes, refused: int) -> None:
    """The service rejects a body that it does not read and that contains complete requests."""
    with Client(proxy, BLOG) as other:
        for number in range(3):
            with Client(proxy) as one:
                status, _, _ = one.send(sent)
            assert status == refused
            assert_own_response(other, number)


def assert_own_response(client: Client, number: int) -> None:
    status, _, response = client.send(b"GET /x?who=%d HTTP/1.1\r\nHost: t\r\n\r\n" % number)
    assert (status, json.loads(response)["who"]) == (200, str(number))
