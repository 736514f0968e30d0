"""``/livez``, ``/readyz`` and ``/metrics``, the same in every process.

An API mounts the routes; a process without an API, such as the relay, serves them beside its work.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final

import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CHECK_TIMEOUT_SECONDS: Final = 2.0
"""A probe asks every few seconds; a database that answers later than this is not ready."""

Check = Callable[[], Awaitable[None]]
"""Raises when the process cannot do its work; the error's type is shown, never its text."""


def health_routes(*, ready: Check, refresh: Check) -> list[Route]:
    """The three routes. ``refresh`` brings gauges up to date before they are read."""

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await ready()
        except Exception as error:  # whatever is wrong, the answer is the same
            return JSONResponse({"status": "not ready", "reason": type(error).__name__}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await refresh()
        except Exception:  # noqa: S110 - what lives in the process itself is still worth reading
            pass
        text = prometheus_client.generate_latest()
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]


async def work_beside_health(
    work: Coroutine[Any, Any, None],
    routes: list[Route],
    *,
    host: str,
    port: int,
    stop: Callable[[], None] | None = None,
    stop_seconds_max: float = 0,
) -> None:
    """Do ``work`` and serve ``routes`` until the work ends.

    SIGTERM and SIGINT call ``stop``, after which the work has ``stop_seconds_max`` to end by
    itself; without ``stop`` they cancel it at once.
    """
    config = uvicorn.Config(
        Starlette(routes=routes), host=host, port=port, log_config=None, access_log=False
    )
    working = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop is not None:
            stop()
        loop.call_later(stop_seconds_max, working.cancel)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    async with _serving(config):
        with contextlib.suppress(asyncio.CancelledError):
            await working


class _Server(uvicorn.Server):
    """Leaves signals to the process, whose work has to end first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _serving(config: uvicorn.Config) -> AsyncIterator[None]:
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await serving
