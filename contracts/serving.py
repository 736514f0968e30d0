"""Serve an application, or health beside some work, until SIGTERM or SIGINT; then exit with 0.

Each runs one event loop (uvloop) for as long as the process lives. There is no access log: requests
are counted and timed in the metrics, and probes would drown everything else.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

FINISH_SECONDS_MAX: Final = 10
"""How long requests at hand may take once the process has been asked to end."""


def serve(app: ASGIApp, *, host: str, port: int) -> None:
    """Serve ``app`` until asked to end, and finish the requests at hand."""

    async def until_asked() -> None:
        asked = asyncio.Event()
        _when_asked_to_end(asked.set)
        async with _serving(app, host, port):
            await asked.wait()

    uvloop.run(until_asked())


def serve_beside(
    work: Coroutine[Any, Any, None],
    routes: list[Route],
    *,
    host: str,
    port: int,
    stop: Callable[[], None] | None = None,
    stop_seconds_max: float = 0,
) -> None:
    """Do ``work`` and serve ``routes`` until the work ends, or is asked to.

    Asked to end, the work's ``stop`` is called, and it has ``stop_seconds_max`` to end by itself;
    then, or at once without ``stop``, it is cancelled.
    """

    async def both() -> None:
        working = asyncio.ensure_future(work)

        def end() -> None:
            if stop is not None:
                stop()
            asyncio.get_running_loop().call_later(stop_seconds_max, working.cancel)

        _when_asked_to_end(end)
        async with _serving(Starlette(routes=routes), host, port):
            with contextlib.suppress(asyncio.CancelledError):
                await working

    uvloop.run(both())


def _when_asked_to_end(call: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, call)


class _Server(uvicorn.Server):
    """Leaves signals to the process, whose work has to end first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=FINISH_SECONDS_MAX,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await serving
