"""Describe error responses in the OpenAPI document.

A route names its own codes with ``documented``; ``describe_problems`` adds those of every request
to every operation. Each response is a ``ProblemBody`` with one example per code.
"""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from service_kit.http import problems
from service_kit.http.problems import MEDIA_TYPE, Code, Problem
from service_kit.http.product import request_urn

TOKEN: Final = (
    problems.TWO_CREDENTIALS,
    problems.AUTHENTICATION_REQUIRED,
    problems.INVALID_TOKEN,
    problems.ACCOUNT_DISABLED,
    problems.USER_REQUIRED,
)
"""The problems of a route that needs a user's access token."""

OF_EVERY_REQUEST: Final = (
    problems.MALFORMED_REQUEST,
    problems.BODY_TOO_LARGE,
    problems.HEADERS_TOO_LARGE,
    problems.INTERNAL,
    problems.BUSY,
    problems.UNAVAILABLE,
)
OF_EVERY_BODY: Final = (problems.REQUEST_TIMEOUT,)
OF_EVERY_INPUT: Final = (problems.INVALID_REQUEST,)
"""The problems of an operation with parameters or a body."""

REALM: Final = "accessToken"

_EXAMPLE_ID: Final = "6f1f7a52-0b8e-4e0c-9a55-1f6f0c5f9b1e"

_HEADERS: Final = {
    "X-Request-ID": "Names this request in the service's log",
    "WWW-Authenticate": "How to authenticate (RFC 6750 3)",
    "Retry-After": "Seconds after which to try again",
    "RateLimit": "What is left of the limit, and for how long",
    "RateLimit-Policy": "The limit",
}


class WrongField(BaseModel):
    """A part of the request that does not have the right form."""

    pointer: str = Field(description="where: a JSON Pointer that begins with body, query or path")
    detail: str = Field(description="what is wrong, for people")


class ProblemBody(BaseModel):
    """An error response (RFC 9457). Programs match on ``code``; docs/problems.md lists them all."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="URI of the problem type")
    title: str = Field(description="the code in words, for people")
    status: int = Field(description="the HTTP status")
    code: str = Field(description="stable")
    instance: str = Field(description=f"this request, as {request_urn('<X-Request-ID>')}")
    detail: str = Field("", description="this occurrence in words, for people")
    errors: list[WrongField] = Field([], description="what does not have the right form")


def documented(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """Make a route's ``responses`` from the problems that it adds to those of every route.

    An operation with ``invalid_token`` is documented to need an access token.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        _add(responses, code.status, code)
    return responses


def describe_problems(app: FastAPI) -> None:
    """Add the problems of every request to the OpenAPI document.

    Responses with 422 are problem documents too, in place of FastAPI's own model.
    """
    original = app.openapi

    def openapi() -> dict[str, Any]:
        document = original()
        components = document.setdefault("components", {})
        if "headers" not in components:  # FastAPI keeps the document that it made
            _complete(document, components)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI wants it


def _complete(document: dict[str, Any], components: dict[str, Any]) -> None:
    for operation in _operations(document):
        responses = operation["responses"]
        if "application/json" in responses.get("422", {}).get("content", {}):
            del responses["422"]  # FastAPI's; ours is of another type
        has_body = "requestBody" in operation
        codes = list(OF_EVERY_REQUEST)
        codes += OF_EVERY_BODY if has_body else ()
        codes += OF_EVERY_INPUT if has_body or operation.get("parameters") else ()
        for code in codes:
            _add(responses, str(code.status), code)
        for response in responses.values():
            response.setdefault("headers", {}).update(_header("X-Request-ID"))
        if problems.INVALID_TOKEN.name in _examples(responses.get("401", {})):
            operation["security"] = [{REALM: []}]
        operation["responses"] = dict(sorted(responses.items()))

    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    own = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(own.pop("$defs"), ProblemBody=own)
    components["headers"] = {
        name: {"description": description, "schema": {"type": "string"}}
        for name, description in _HEADERS.items()
    }
    components["securitySchemes"] = {
        **components.get("securitySchemes", {}),
        REALM: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    }


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document.get("paths", {}).values():
        yield from (operation for operation in path.values() if "responses" in operation)


def _add(responses: dict[Any, dict[str, Any]], status: int | str, code: Code) -> None:
    """Add ``code`` to the responses, next to others of the same status."""
    response = responses.setdefault(status, {"description": "", "content": {}, "headers": {}})
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    content = response["content"].setdefault(MEDIA_TYPE, {"schema": schema, "examples": {}})
    if code.name in content["examples"]:
        return
    content["examples"][code.name] = {"summary": code.title, "value": _example(code)}
    response["description"] = "; ".join(
        example["summary"] for example in content["examples"].values()
    )
    for name in _header_names(code):
        response.setdefault("headers", {}).update(_header(name))


def _examples(response: dict[str, Any]) -> dict[str, Any]:
    examples: dict[str, Any] = response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    return examples


def _example(code: Code) -> dict[str, Any]:
    extra: dict[str, Any] = {"instance": request_urn(_EXAMPLE_ID)}
    if code == problems.TOO_MANY_REQUESTS:
        extra["violated-policies"] = ["signin"]
    if code == problems.INVALID_REQUEST:
        extra["errors"] = [{"pointer": "/body/email", "detail": "Field required"}]
    return {**Problem(code).document(), **extra}


def _header_names(code: Code) -> tuple[str, ...]:
    if code.status == 401 or code in (problems.TWO_CREDENTIALS, problems.INSUFFICIENT_SCOPE):
        return ("WWW-Authenticate",)
    if code.status == 429:
        return ("Retry-After", "RateLimit", "RateLimit-Policy")
    return ("Retry-After",) if code.status == 503 else ()


def _header(name: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"}}
