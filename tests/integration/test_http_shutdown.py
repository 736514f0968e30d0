"""The server's last moments: a request that was sent before the listener closed is served.

What clients notice of a whole shutdown is tested by `tests/end_to_end/test_shutdown.py`.
"""

import asyncio
import socket
from typing import Literal

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service_kit.http.serving import serving
from tests.support.eventually import eventually
from tests.support.http_server import read_all

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


async def answer(_: Request) -> Response:
    return Response(b"served")


def last_response(patch: pytest.MonkeyPatch, sent: Literal["before", "after"] | None) -> bytes:
    """Shut a server down; return what a client gets that connects at the last moment.

    Parameters:
        sent: whether its request is sent before the listener closes, or just after, if at all.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    client = socket.socket()
    client.settimeout(10)

    async def send_late() -> None:
        await eventually(lambda: listening.fileno() < 0)
        if sent == "after":
            client.sendall(REQUEST)

    async def run() -> None:
        async with serving(Starlette(routes=[Route("/", answer)]), listening) as server:
            await eventually(lambda: server.started)
            shutdown = server.shutdown

            async def shutdown_with_a_client(sockets: list[socket.socket] | None = None) -> None:
                # The kernel accepts it, and the server has no turn until it closes the listener.
                client.connect(address)
                if sent == "before":
                    client.sendall(REQUEST)
                sending = asyncio.create_task(send_late())
                await shutdown(sockets)
                await sending

            patch.setattr(server, "shutdown", shutdown_with_a_client)

    uvloop.run(run())
    with client:
        return read_all(client)


@pytest.mark.parametrize("sent", ["before", "after"])
def test_a_request_of_the_last_moment_is_served(
    monkeypatch: pytest.MonkeyPatch, sent: Literal["before", "after"]
) -> None:
    """Whether it arrives before or after the listener closes, the client could not know of it."""
    response = last_response(monkeypatch, sent)

    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in response
    assert response.endswith(b"served")


def test_a_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_response(monkeypatch, None) == b""
