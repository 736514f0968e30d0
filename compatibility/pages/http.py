"""Show an OpenAPI document as a page. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from compatibility.pages.fields import Json, fields, meaning, resolved, table, type_of

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_PROBLEM: Final = "application/problem+json"

_OF_EVERY_REQUEST: Final = (
    *("malformed_request", "request_timeout", "body_too_large", "headers_too_large", "internal"),
    *("busy", "unavailable"),
)
"""Problem codes of almost every operation, which the page shows once."""


def page(document: Json, source: str) -> Iterator[str]:
    """Yield the lines of the page.

    Parameters:
        document: the OpenAPI document.
        source: the path of its file, as the page links to it.
    """
    operations = [
        (method, path, item[method])
        for path, item in sorted(document["paths"].items())
        for method in _METHODS
        if method in item
    ]
    tags = sorted({_tag(operation) for _, _, operation in operations})
    info = document["info"]
    yield f"# HTTP: {info['title']}\n"
    yield f"{info.get('summary', '')}. Generated from the {{download}}`OpenAPI document <{source}>`"
    yield "(3.1); [what may change](../contracts.md) and [all problem codes](../problems.md).\n"
    codes = ", ".join(f"`{code}`" for code in _OF_EVERY_REQUEST)
    yield f"Not repeated below, because almost every request may get them: {codes}.\n"
    for tag in tags:
        yield f"## {tag.capitalize()}\n"
        for method, path, operation in operations:
            if _tag(operation) == tag:
                yield from _operation(method, path, operation, document)


def _tag(operation: Json) -> str:
    tags: list[str] = operation.get("tags") or ["other"]
    return tags[0]


def _operation(method: str, path: str, operation: Json, document: Json) -> Iterator[str]:
    yield f"### [{method.upper()}]{{.method .{method}}} `{path}`\n"
    yield f"**{operation.get('summary', '')}.** {_text(operation)}\n"
    yield f"Credentials: {_credentials(operation, document)}.\n"
    yield from table(
        ("parameter", "in", "type", "", "meaning"),
        [_parameter(each, document) for each in operation.get("parameters", ())],
    )
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{kind}`:\n"
        yield from _fields(body.get("schema", {}), document)
    yield from _responses(operation["responses"], document)


def _text(operation: Json) -> str:
    return str(operation.get("description", "")).replace("``", "`")


def _credentials(operation: Json, document: Json) -> str:
    ways = operation.get("security", document.get("security", ()))
    named = [" and ".join(f"`{name}`" for name in way) or "none" for way in ways]
    return " or ".join(named) or "none"


def _parameter(parameter: Json, document: Json) -> tuple[str, ...]:
    schema = parameter.get("schema", {})
    return (
        f"`{parameter['name']}`",
        parameter["in"],
        type_of(schema, document),
        "required" if parameter.get("required") else "",
        meaning(parameter) or meaning(schema),
    )


def _responses(responses: dict[str, Any], document: Json) -> Iterator[str]:
    refused = []
    for status, response in responses.items():
        content = response.get("content", {})
        if _PROBLEM in content:
            codes = content[_PROBLEM].get("examples", {}).keys() - set(_OF_EVERY_REQUEST)
            if codes:
                refused.append((status, ", ".join(f"`{code}`" for code in sorted(codes))))
            continue
        yield f"**{status}** {response.get('description', '')}\n"
        for kind, body in content.items():
            yield from _body(kind, body.get("schema", {}), document)
    if refused:
        yield "Refused with:\n"
        yield from (f"- **{status}** {codes}" for status, codes in refused)
        yield ""


def _body(kind: str, schema: Json, document: Json) -> Iterator[str]:
    rows = fields(schema, document)
    if not rows:
        yield f"`{kind}`: {type_of(schema, document)}\n"
        return
    name = resolved(schema, document).get("title", "fields")
    yield f"<details><summary>{name}, {kind}</summary>\n"
    yield from _fields(schema, document)
    yield "</details>\n"


def _fields(schema: Json, document: Json) -> Iterator[str]:
    yield from table(("field", "type", "", "meaning"), fields(schema, document))
