"""``/livez``, ``/readyz`` and ``/metrics``, the same in every process.

An API mounts the routes; a process without an API, such as the relay, serves them beside its work.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import prometheus_client
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CHECK_TIMEOUT_SECONDS: Final = 2.0
"""A probe runs every few seconds; a database that takes longer than this is not ready."""

END_ASKED: Final = "end_asked"
"""The event in ``request.state`` that the server sets once the process was asked to end."""

Check = Callable[[], Awaitable[None]]

Readiness = Callable[[], Awaitable[str | None]]
"""Raises if the process cannot work; the response has the error's type, never its text. Returns why
the process is degraded, or None."""


def ending_of(request: Request) -> asyncio.Event:
    """The event that is set once the process was asked to end; never, without a server of ours."""
    ending = getattr(request.state, END_ASKED, None)
    return asyncio.Event() if ending is None else ending


def health_routes(*, ready: Readiness, refresh: Check) -> list[Route]:
    """Make the three routes; ``refresh`` updates gauges before they are read.

    A process that was asked to end is alive and not ready.
    """

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if ending_of(request).is_set():
            return JSONResponse({"status": "not ready", "reason": "ShuttingDown"}, 503)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                degraded = await ready()
        except Exception as error:  # any error means "not ready"
            return JSONResponse({"status": "not ready", "reason": type(error).__name__}, 503)
        if degraded:
            return JSONResponse({"status": "degraded", "reason": degraded})
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
