"""Clients that do not read: each costs one response for a limited time, and then nothing."""

import asyncio
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from service_kit.http import serving
from service_kit.http.protocol import WRITTEN_BYTES_MIN, HttpProtocol
from tests.support.eventually import eventually
from tests.support.http_server import Server, read_all, served

LARGE = 4_000_000
CONNECTIONS, AHEAD = 60, 12
BUFFER = 4096

LIST = b"GET /list HTTP/1.1\r\nHost: t\r\n"
CLOSE = b"Connection: close\r\n\r\n"
REQUESTS = [LIST + b"\r\n", LIST + CLOSE, b"GET /stream" + LIST[9:] + b"\r\n"]


class Impatient(HttpProtocol):
    """A protocol with a short time limit for reading; it knows its connections."""

    writing_seconds_max = 0.5
    open: ClassVar[set[HttpProtocol]] = set()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.discard(self)
        super().connection_lost(exc)


class Patient(Impatient):
    """A protocol that waits longer than a test lasts."""

    writing_seconds_max = 60


class Tolerant(Impatient):
    """A protocol that allows pauses as a busy machine imposes them on a client."""

    writing_seconds_max = 2


class Service:
    def __init__(self) -> None:
        self.begun = 0
        self.app = Starlette(routes=[Route("/list", self.a_list), Route("/stream", self.a_stream)])

    async def a_list(self, _: Request) -> Response:
        self.begun += 1
        return Response(b"x" * LARGE)

    async def a_stream(self, _: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(LARGE // 50_000):
                self.begun += 1
                yield b"x" * 50_000

        return StreamingResponse(pieces())


@pytest.fixture
def service(caplog: pytest.LogCaptureFixture) -> Iterator[Service]:
    """Return the service; afterwards check that the log has no error and no traceback."""
    yield Service()
    for record in caplog.get_records("call"):
        assert record.levelno < logging.ERROR, record.getMessage()
        assert record.exc_info is None


def reader(server: Server, sent: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(sent)
    return connection


def until(look: Callable[[], bool]) -> None:
    """Wait until a condition of the server, which runs in its own thread, is true."""
    asyncio.run(eventually(look))


def is_open() -> bool:
    return bool(Impatient.open)


@pytest.mark.parametrize("sent", REQUESTS)
def test_a_client_that_does_not_read_is_cut_off(service: Service, sent: bytes) -> None:
    """Whether the connection is kept alive, about to close, or streaming."""
    with served(service.app, protocol=Impatient) as server, reader(server, sent) as connection:
        until(lambda: service.begun > 0)
        until(lambda: not is_open())
        assert len(read_all(connection)) < LARGE


def test_a_client_that_reads_less_than_the_minimum_is_cut_off(service: Service) -> None:
    """Reading a few bytes now and then does not keep a connection open."""
    request = LIST + b"\r\n"
    with served(service.app, protocol=Impatient) as server, reader(server, request) as connection:
        started = time.monotonic()
        read = 0
        while is_open() or not service.begun:
            assert time.monotonic() < started + 10
            read += len(connection.recv(WRITTEN_BYTES_MIN // 100))
            time.sleep(0.02)
    assert read < LARGE


def test_a_slow_reader_gets_the_whole_response(service: Service) -> None:
    """Even if it takes longer than a client may pause."""
    seconds = Tolerant.writing_seconds_max * 1.5
    started = time.monotonic()

    def read_slowly(connection: socket.socket) -> int:
        read = 0
        while piece := connection.recv(65536):
            read += piece.count(b"x")
            wanted = started + seconds * min(1, read / LARGE)
            time.sleep(max(0, min(0.1, wanted - time.monotonic())))
        assert time.monotonic() > started + seconds * 0.9
        return read

    with (
        served(service.app, protocol=Tolerant) as server,
        reader(server, LIST + CLOSE) as listing,
        reader(server, b"GET /stream" + LIST[9:] + CLOSE) as streaming,
        ThreadPoolExecutor() as threads,
    ):
        assert min(threads.map(read_slowly, (listing, streaming))) >= LARGE


def test_many_clients_that_do_not_read_cost_one_response_each(service: Service) -> None:
    """Their pipelined requests stay unparsed, and nothing is left when their time is over."""
    with served(service.app, protocol=Patient) as server:
        crowd = [reader(server, (LIST + b"\r\n") * AHEAD) for _ in range(CONNECTIONS)]
        until(lambda: service.begun >= CONNECTIONS)
        until(lambda: all(one.flow.write_paused for one in list(Impatient.open)))

        assert service.begun == CONNECTIONS
        unsent = [one.transport.get_write_buffer_size() for one in list(Impatient.open)]
        assert max(unsent) <= LARGE
        for one in crowd:
            one.close()
        until(lambda: not is_open())

    service.begun = 0
    with served(service.app, protocol=Impatient) as server:
        crowd = [reader(server, (LIST + b"\r\n") * AHEAD) for _ in range(CONNECTIONS)]
        until(lambda: service.begun >= CONNECTIONS)
        until(lambda: not is_open())
        for one in crowd:
            one.close()

        assert service.begun == CONNECTIONS
        assert server.exchange(LIST + CLOSE).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_once_earlier_responses_are_read(service: Service) -> None:
    sent = (LIST + b"\r\n") * (AHEAD - 1) + LIST + CLOSE
    with served(service.app, protocol=Patient) as server, server.connect() as connection:
        connection.sendall(sent)
        pieces = []
        while piece := connection.recv(1_000_000):
            pieces.append(piece)

    read = b"".join(pieces)
    assert len(re.findall(rb"HTTP/1.1 200 OK\r\n", read)) == AHEAD
    assert read.count(b"x") == AHEAD * LARGE


@pytest.mark.parametrize("sent", REQUESTS)
def test_a_slow_reader_does_not_delay_the_shutdown(
    service: Service, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server drops the client when the time for finishing is over, and logs no error."""
    monkeypatch.setattr(serving, "FINISH_SECONDS_MAX", 0.3)
    with served(service.app, protocol=Patient) as server:
        connection = reader(server, sent * 2)
        until(lambda: service.begun > 0)
        started = time.monotonic()

    connection.close()
    assert time.monotonic() < started + 5
    assert not is_open()


def test_a_client_that_disconnects_while_requests_wait_causes_no_error(service: Service) -> None:
    """By a reset in the middle of the first response."""
    with served(service.app, protocol=Patient) as server:
        connection = reader(server, (LIST + b"\r\n") * AHEAD)
        until(lambda: service.begun > 0)
        linger: Any = b"\1\0\0\0\0\0\0\0"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.close()
        until(lambda: not is_open())

    assert service.begun == 1
