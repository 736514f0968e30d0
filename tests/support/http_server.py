"""Serve an application in a separate thread and measure how long its event loop is blocked."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import uvloop
from starlette.types import ASGIApp

from service_kit.http.protocol import HttpProtocol
from service_kit.http.serving import serving

TICK_SECONDS = 0.001


class Server:
    """A server on a free port that records the pauses of its event loop."""

    def __init__(
        self, app: ASGIApp, trusted_proxies: Sequence[str], protocol: type[HttpProtocol]
    ) -> None:
        self._app = app
        self._trusted_proxies = trusted_proxies
        self._protocol = protocol
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._pauses: list[float] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    async def _run(self) -> None:
        async with serving(self._app, self._listening, self._trusted_proxies, self._protocol):
            while not self._ending.is_set():
                before = time.thread_time()
                await asyncio.sleep(TICK_SECONDS)
                self._pauses.append(time.thread_time() - before)

    def forget_pauses(self) -> None:
        """Start measuring, after the current pause has been recorded."""
        self._wait_for_ticks()
        self._pauses.clear()

    def longest_pause_seconds(self) -> float:
        """Return the longest time in seconds for which the event loop ran one callback.

        Counts since ``forget_pauses``, including the current callback. It is CPU time, so other
        processes on the machine do not add to it.
        """
        self._wait_for_ticks()
        return max(self._pauses)

    def _wait_for_ticks(self) -> None:
        ticks = len(self._pauses)
        while len(self._pauses) < ticks + 2:
            time.sleep(TICK_SECONDS)

    def connect(self) -> socket.socket:
        """Connect to the server; calls time out after ten seconds."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def exchange(self, sent: bytes) -> bytes:
        """Send bytes on a new connection; return all that the server sends until it closes it."""
        with self.connect() as connection:
            try:
                connection.sendall(sent)
                return read_all(connection)
            except (BrokenPipeError, ConnectionResetError):
                return b""


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes or resets the connection."""
    read = b""
    try:
        while piece := connection.recv(65536):
            read += piece
    except ConnectionResetError:
        pass
    return read


@contextmanager
def served(
    app: ASGIApp,
    *,
    trusted_proxies: Sequence[str] = (),
    protocol: type[HttpProtocol] = HttpProtocol,
) -> Iterator[Server]:
    """Serve the application inside the block."""
    with Server(app, trusted_proxies, protocol) as server:
        yield server
