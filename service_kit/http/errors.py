"""Respond to every error with a problem document.

Guarantees: no response and no log line repeats a value that was sent, or an exception's message. A
database that is away is 503 with ``Retry-After``; every other unexpected error is 500.

Not here: refusals by the server, before there is a request (``protocol``).
"""

import json
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from service_kit.database.away import DATABASE_AWAY, Cause, cause_of, sqlstate
from service_kit.http import problems
from service_kit.http.bearer import challenge
from service_kit.http.problems import Code, Problem
from service_kit.process.telemetry import Asgi

log = structlog.get_logger()

RETRY_AFTER_SECONDS: Final = "2"

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

ERRORS_SHOWN_MAX: Final = 20
"""Wrong fields in one response: nobody corrects more at once, and a body can have thousands."""

POINTER_LENGTH_MAX: Final = 100
"""The longest path to a wrong field; a longer one consists of invented names."""

_OWED: Final = {401: challenge(), 503: {"Retry-After": RETRY_AFTER_SECONDS}}
"""Headers that RFC 9110 requires with a status."""

_BY_STATUS: Final = {
    code.status: code
    for code in (
        problems.INVALID_REQUEST,
        problems.AUTHENTICATION_REQUIRED,
        problems.NOT_FOUND,
        problems.METHOD_NOT_ALLOWED,
        problems.REQUEST_TIMEOUT,
        problems.BODY_TOO_LARGE,
    )
}

Refusals: TypeAlias = Mapping[type[Exception], Code | Callable[[Any], Problem]]
"""A service's own errors, each with its code, or with a function that makes the problem."""


def install_handlers(app: FastAPI, refusals: Refusals) -> None:
    """Install the handlers; subclasses of an error are handled like it."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(error)

    async def refusal(_: Request, error: Exception) -> Response:
        made = next(made for kind, made in refusals.items() if isinstance(error, kind))
        return problem_response(Problem(made) if isinstance(made, Code) else made(error))

    app.add_exception_handler(Problem, problem)
    for kind in refusals:
        app.add_exception_handler(kind, refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in DATABASE_AWAY:
        app.add_exception_handler(kind, _database)


def catch_unexpected(app: Asgi) -> Asgi:
    """Middleware (ASGI): log an unexpected error and respond with a bare 500.

    Replaces Starlette's own, which runs outside all other middleware and so has no request id. A
    response that has begun is cut off, so that no client takes it for a complete one.
    """

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        has_begun = False

        async def send_noting(message: MutableMapping[str, Any]) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await app(scope, receive, send_noting)
        except Exception as error:
            if has_begun:
                raise
            log.error("http.unexpected", exc_info=error)
            await problem_response(Problem(problems.INTERNAL))(scope, receive, send)

    return call


def problem_response(problem: Problem) -> Response:
    """Make the response for ``problem``, with the headers that its status requires."""
    # ASCII: a name in a pointer may be half of a surrogate pair, which no encoding of text holds.
    document = json.dumps(problem.document(), ensure_ascii=True)
    headers = {**_OWED.get(problem.code.status, {}), **problem.headers}
    return Response(document, problem.code.status, headers, problems.MEDIA_TYPE)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [
        {"pointer": _pointer(field["loc"]), "detail": field["msg"]}
        for field in error.errors()[:ERRORS_SHOWN_MAX]
    ]
    return problem_response(Problem(problems.INVALID_REQUEST, errors=wrong))


def _pointer(path: tuple[object, ...]) -> str:
    """Write a JSON Pointer (RFC 6901) to a field, from the part of the request that has it."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "".join(f"/{part}" for part in parts)[:POINTER_LENGTH_MAX]


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == problems.METHOD_NOT_ALLOWED.status:
        error.headers = {"Allow": ", ".join(sorted(_methods(request)))}
    others = problems.INVALID_REQUEST if error.status_code < 500 else problems.INTERNAL
    code = _BY_STATUS.get(error.status_code, others)
    return problem_response(Problem(code, headers=dict(error.headers or {})))


def _methods(request: Request) -> set[str]:
    """List the methods of the path; Starlette names those of the first route alone."""
    offered = {
        method
        for method in METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }
    return offered | {"HEAD"} if "GET" in offered else offered


async def _database(_: Request, error: Exception) -> Response:
    cause = cause_of(error)
    if cause is Cause.TEXT:
        return problem_response(Problem(problems.INVALID_REQUEST))
    if cause is Cause.STATEMENT:
        log.error("http.statement_refused", sqlstate=sqlstate(error), exc_info=error)
        return problem_response(Problem(problems.INTERNAL))
    log.warning("http.database_away", error=type(error).__name__)
    return problem_response(Problem(problems.UNAVAILABLE))
