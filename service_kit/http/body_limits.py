"""Limits on a request's body: how large it may be, and how long it may take to arrive.

Guarantees: on every route, a reader of the body gets no byte beyond the limit and waits no longer
than the deadline. Neither the body nor the response is buffered here.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from service_kit.http import problems
from service_kit.http.errors import problem_response
from service_kit.http.problems import Problem
from service_kit.process.telemetry import Asgi


class LimitedBody:
    """Middleware (ASGI): a body that is too large is 413, one that is too slow 408.

    FastAPI's own ``max_body_size`` refuses an announced one in plain text.

    Parameters:
        app: what to serve.
        bytes_max: the longest body; what ``Content-Length`` announces counts before it comes.
        seconds_max: from the first read until the last byte. Without it, a client that sends a byte
            now and then would occupy a connection, and what the route has open, indefinitely.
    """

    def __init__(self, app: Asgi, bytes_max: int, seconds_max: float) -> None:
        self._app = app
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > self._bytes_max:
            await problem_response(Problem(problems.BODY_TOO_LARGE))(scope, receive, send)
            return
        read = 0
        deadline: float | None = None
        is_whole = False

        async def receive_limited() -> Any:
            nonlocal read, deadline, is_whole
            if is_whole:  # what comes now is the end of the connection, however late
                return await receive()
            if deadline is None:
                deadline = asyncio.get_running_loop().time() + self._seconds_max
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                # RFC 9110 15.5.9: the rest may still come, so the connection is of no more use.
                raise HTTPException(
                    problems.REQUEST_TIMEOUT.status, headers={"Connection": "close"}
                ) from None
            is_whole = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > self._bytes_max:
                raise HTTPException(problems.BODY_TOO_LARGE.status)
            return message

        await self._app(scope, receive_limited, send)
