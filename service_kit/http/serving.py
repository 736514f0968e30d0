"""Serve an application, or the health of a worker, until SIGTERM or SIGINT; then exit with 0.

Each runs one event loop (uvloop) for as long as the process lives. There is no access log: requests
are counted and timed in the metrics, and probes would drown everything else.

Guarantees: from the signal on ``/readyz`` is 503, and the response to each new request closes its
connection. An application still accepts and serves all requests for the shutdown delay, in which
load balancers notice. Only then does it stop accepting; the requests in progress have a limited
time to finish. A second signal ends the process at once, with exit code 128 plus its number.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from service_kit.http.probes import END_ASKED
from service_kit.http.protocol import HttpProtocol
from service_kit.process.errors import OperatorError
from service_kit.process.tasks import CANCEL_AGAIN_SECONDS

FINISH_SECONDS_MAX: Final = 10
"""How long current requests may take once no more are accepted, in seconds."""

DROPPED_SECONDS_MAX: Final = 1
"""How long handlers have after that to notice the closed connection, in seconds; then they are
cancelled, which logs an error."""

BACKLOG: Final = 2048
"""Connections that may wait to be accepted, as uvicorn has it."""

ENDING: Final = (signal.SIGTERM, signal.SIGINT)

CLOSE: Final = (b"connection", b"close")


def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    setting: str,
    trusted_proxies: Sequence[str] = (),
    shutdown_delay_seconds: float = 0,
) -> None:
    """Serve ``app`` until a signal and the delay after it, then finish the requests in progress.

    ``shutdown_delay_seconds`` is how long requests are accepted after SIGTERM, while ``/readyz`` is
    503. SIGINT has no delay: it comes from a person at a terminal, who waits.

    ``trusted_proxies`` are addresses and networks. Of a request that comes from one of them,
    ``X-Forwarded-For`` tells whose it is: the last address in it that is none of them, since every
    proxy appends the address it saw and any client may send the rest. From others it is ignored.

    Raises:
        OperatorError: the port, which ``setting`` chooses, cannot be listened on.
    """

    async def until_asked() -> None:
        asked: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        _when_asked_to_end(asked.set_result)
        async with serving(app, _listening(host, port, setting), trusted_proxies) as server:
            number = await asked
            server.announce_end()
            if number == signal.SIGTERM:
                await asyncio.sleep(shutdown_delay_seconds)

    uvloop.run(until_asked())


def serve_beside(
    work: Coroutine[Any, Any, None],
    routes: list[Route],
    *,
    host: str,
    port: int,
    setting: str,
    stop: Callable[[], None] | None = None,
    stop_seconds_max: float = 0,
) -> None:
    """Do ``work`` and serve ``routes`` until the work ends, or is asked to.

    Asked to end, the work's ``stop`` is called, and it has ``stop_seconds_max`` to end by itself;
    then, or at once without ``stop``, it is cancelled.

    Raises:
        OperatorError: the port, which ``setting`` chooses, cannot be listened on.
    """

    async def both() -> None:
        working = asyncio.ensure_future(work)

        ending = asyncio.Event()

        def end(_: signal.Signals) -> None:
            ending.set()
            server.announce_end()
            if stop is not None:
                stop()
            asyncio.get_running_loop().call_later(stop_seconds_max, cancel)

        def cancel() -> None:
            # Until it ends: Python 3.11's asyncio.wait_for, which the client libraries use, loses
            # a cancellation that meets a result.
            if not working.done():
                working.cancel()
                asyncio.get_running_loop().call_later(CANCEL_AGAIN_SECONDS, cancel)

        health = Starlette(routes=routes)
        health.router.redirect_slashes = False  # its host would be what the request says
        async with serving(health, _listening(host, port, setting)) as server:
            _when_asked_to_end(end)
            try:
                await working
            except asyncio.CancelledError:
                if not ending.is_set():  # a library's own cancellation is a failure, not an end
                    raise

    uvloop.run(both())


def _when_asked_to_end(call: Callable[[signal.Signals], None]) -> None:
    """Call once, with the first signal; the next one ends the process at once.

    Nothing is lost by that: a process may be killed at any point.
    """
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        for each in ENDING:
            # Not the default action: the kernel ignores it in a container's first process.
            loop.add_signal_handler(each, os._exit, 128 + each)
        call(number)

    for each in ENDING:
        loop.add_signal_handler(each, first, each)


def _listening(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OperatorError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another port in {setting}"
        ) from None


class Server(uvicorn.Server):
    """Leaves signals to the process, whose work has to end first; drops slow readers in time."""

    def __init__(self, config: uvicorn.Config, protocol: type[HttpProtocol]) -> None:
        super().__init__(config)
        self._protocol = protocol
        self._ending = asyncio.Event()

    def announce_end(self) -> None:
        """Let ``/readyz`` say 503, and the response to each new request close its connection.

        A client that uses its connection in the meantime leaves without an error; one that does not
        is closed after ``protocol.IDLE_SECONDS_MAX``, as ever. So when the listener closes after a
        longer delay, no connection is left that a request could still arrive on.
        """
        if self._ending.is_set():
            return
        self._ending.set()
        # The server's own list of headers for all responses is made from the other one each second.
        self.config.encoded_headers.append(CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; each request gets a copy of the state, and so the event itself."""
        self.lifespan.state[END_ASKED] = self._ending
        await super().startup(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the current requests, as far as their clients read the responses."""
        self.announce_end()
        self._accept_waiting(sockets or [])
        dropping = asyncio.get_running_loop().call_later(FINISH_SECONDS_MAX, self._drop_connections)
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()

    def _accept_waiting(self, sockets: list[socket.socket]) -> None:
        """Take over connections that the kernel has accepted; closing the listener resets them."""
        for listening in sockets:
            # Usually none waits any more. Without a descriptor left, those that wait are lost, but
            # not the requests in progress.
            with contextlib.suppress(OSError):
                while True:
                    accepted, _ = listening.accept()
                    attaching = asyncio.create_task(self._attach(accepted))
                    self.server_state.tasks.add(attaching)
                    attaching.add_done_callback(self.server_state.tasks.discard)

    async def _attach(self, accepted: socket.socket) -> None:
        protocol = self._protocol(self.config, self.server_state, self.lifespan.state)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, accepted)
        protocol.shutdown()

    def _drop_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    listening: socket.socket,
    trusted_proxies: Sequence[str] = (),
    protocol: type[HttpProtocol] = HttpProtocol,
) -> AsyncIterator[Server]:
    """Serve ``app`` on a listening socket for as long as the context lasts.

    The objects of the start are frozen for the garbage collector: its full rounds would block the
    event loop for 50 ms and free nothing.
    """
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # By default uvicorn trusts every caller on this machine.
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_graceful_shutdown=FINISH_SECONDS_MAX + DROPPED_SECONDS_MAX,
    )
    server = Server(config, protocol)
    gc.collect()
    gc.freeze()
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield server
    finally:
        gc.unfreeze()
        server.should_exit = True
        await running
