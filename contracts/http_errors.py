"""Every error answer of a FastAPI app as a problem document.

Guarantees: no answer and no log line repeats what was sent; a database that is away is 503 with
``Retry-After``, whatever else is unexpected is 500.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.exceptions import HTTPException
from starlette.routing import Match

from contracts import problems
from contracts.bearer import challenge
from contracts.problems import Code, Problem
from contracts.telemetry import Asgi

log = structlog.get_logger()

RETRY_AFTER_SECONDS: Final = "2"

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

OUR_MISTAKES: Final = ("22", "23", "42")
"""SQLSTATE classes of a statement that will not be better later: data, integrity, syntax."""

_OWED: Final = {401: challenge(), 503: {"Retry-After": RETRY_AFTER_SECONDS}}
"""Headers that RFC 9110 wants with a status."""

_BY_STATUS: Final = {
    code.status: code
    for code in (
        problems.INVALID_REQUEST,
        problems.AUTHENTICATION_REQUIRED,
        problems.NOT_FOUND,
        problems.METHOD_NOT_ALLOWED,
        problems.BODY_TOO_LARGE,
    )
}


def answer_with_problems(app: FastAPI, refusals: Mapping[type[Exception], Code]) -> None:
    """Install the handlers; ``refusals`` maps the service's own errors to codes."""

    async def problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return _answer(error)

    async def refusal(_: Request, error: Exception) -> JSONResponse:
        code = next(code for kind, code in refusals.items() if isinstance(error, kind))
        return _answer(Problem(code, headers=_OWED.get(code.status)))

    app.add_exception_handler(Problem, problem)
    for kind in refusals:
        app.add_exception_handler(kind, refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for away in (DBAPIError, NoConnectionFree, OSError):
        app.add_exception_handler(away, _away)
    app.add_exception_handler(Exception, _unexpected)


class LimitedBody:
    """Middleware (ASGI): a body of more than ``bytes_max`` bytes is 413, announced or not.

    FastAPI's own ``max_body_size`` answers an announced one in plain text.
    """

    def __init__(self, app: Asgi, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve one request."""
        announced = dict(scope.get("headers", ())).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._bytes_max:
            await _answer(Problem(problems.BODY_TOO_LARGE))(scope, receive, send)
            return
        read = 0

        async def receive_limited() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._bytes_max:
                raise HTTPException(problems.BODY_TOO_LARGE.status)
            return message

        await self._app(scope, receive_limited, send)


def _answer(problem: Problem) -> JSONResponse:
    return JSONResponse(
        problem.document(), problem.code.status, problem.headers, problems.MEDIA_TYPE
    )


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = [
        {"pointer": "/" + "/".join(str(part) for part in field["loc"]), "detail": field["msg"]}
        for field in error.errors()
    ]
    return _answer(Problem(problems.INVALID_REQUEST, errors=wrong))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == problems.METHOD_NOT_ALLOWED.status:
        error.headers = {"Allow": ", ".join(sorted(_methods(request)))}
    others = problems.INVALID_REQUEST if error.status_code < 500 else problems.INTERNAL
    code = _BY_STATUS.get(error.status_code, others)
    return _answer(Problem(code, headers=dict(error.headers or {})))


def _methods(request: Request) -> set[str]:
    """What the path offers: Starlette names the methods of the first route alone."""
    return {
        method
        for method in METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }


async def _away(request: Request, error: Exception) -> JSONResponse:
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    if state.startswith(OUR_MISTAKES):
        log.error("http.statement_refused", sqlstate=state, exc_info=error)
        return await _unexpected(request, error)
    log.warning("http.database_away", error=type(error).__name__)
    return _answer(Problem(problems.UNAVAILABLE, headers={"Retry-After": RETRY_AFTER_SECONDS}))


async def _unexpected(_: Request, __: Exception) -> JSONResponse:
    # Starlette raises it again for the server's log, which keeps the frames and drops the message.
    return _answer(Problem(problems.INTERNAL))
