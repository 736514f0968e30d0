"""Every error answer of a FastAPI app as a problem document.

Guarantees: no answer and no log line repeats what was sent; a database that is away is 503 with
``Retry-After``, whatever else is unexpected is 500.
"""

from collections.abc import Mapping
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.exceptions import HTTPException

from contracts import problems
from contracts.problems import Code, Problem

log = structlog.get_logger()

RETRY_AFTER_SECONDS: Final = "2"

OUR_MISTAKES: Final = ("22", "23", "42")
"""SQLSTATE classes of a statement that will not be better later: data, integrity, syntax."""

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
        headers = {"Retry-After": RETRY_AFTER_SECONDS} if code.status == 503 else None
        return _answer(Problem(code, headers=headers))

    app.add_exception_handler(Problem, problem)
    for kind in refusals:
        app.add_exception_handler(kind, refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for away in (DBAPIError, NoConnectionFree, OSError):
        app.add_exception_handler(away, _away)
    app.add_exception_handler(Exception, _unexpected)


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


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _BY_STATUS.get(error.status_code, problems.INTERNAL)
    return _answer(Problem(code, headers=dict(error.headers or {})))


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
