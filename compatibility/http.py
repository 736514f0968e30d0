"""Compare two OpenAPI documents of a service. Pure.

Compatible are new operations, statuses, problem codes, media types, headers and optional
parameters. A client acts on a status or code that it does not know by its first digit.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from compatibility.change import Change
from compatibility.schemas import Json, Schema, Use
from compatibility.schemas import changes as schema_changes

_METHODS: Final = ("delete", "get", "head", "options", "patch", "post", "put", "trace")
_PROBLEM: Final = "application/problem+json"

_KEEP: Final = "clients of the last release call it: keep it until the next major version"
_HANDLE: Final = "clients of the last release act on it: keep it until the next major version"
_OPTIONAL: Final = "clients of the last release do not send it: make it optional"
_ADMIT: Final = "clients of the last release call it without: accept that still"


def changes(service: str, old: Json, new: Json) -> Iterator[Change]:
    """Yield what broke between two documents.

    Parameters:
        service: its name in sentences.
        old: the last release's document.
        new: the present document.
    """
    olds, news = _operations(old), _operations(new)
    for key, operation in olds.items():
        name = f"{service}: {operation.name}"
        if key not in news:
            yield Change(name, "the operation is gone", _KEEP)
            continue
        yield from _parameters(name, operation, news[key])
        yield from _request(name, operation, news[key])
        yield from _security(name, operation, news[key])
        yield from _responses(name, operation, news[key])


class _Operation:
    """An operation with the parameters of its path; the names of path parameters do not count."""

    def __init__(self, method: str, path: str, item: Json, document: Json) -> None:
        self.name = f"{method.upper()} {path}"
        self.json: Json = item[method]
        self.document = document
        places = re.findall(r"\{([^}]+)\}", path)
        self.parameters = {
            (each["in"], str(places.index(each["name"])) if each["in"] == "path" else each["name"]):
            each
            for each in (*item.get("parameters", ()), *self.json.get("parameters", ()))
        }  # fmt: skip

    def schema(self, json: Any) -> Schema:
        return Schema(json, self.document)


def _operations(document: Json) -> dict[tuple[str, str], _Operation]:
    return {
        (method, re.sub(r"\{[^}]+\}", "{}", path)): _Operation(method, path, item, document)
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    }


def _parameters(name: str, old: _Operation, new: _Operation) -> Iterator[Change]:
    for key, was in old.parameters.items():
        named = f"{name}, {was['in']} parameter {was['name']}"
        now = new.parameters.get(key)
        if now is None:
            yield Change(named, "it is gone", _KEEP)
            continue
        if now.get("required") and not was.get("required"):
            yield Change(named, "it is required now", _OPTIONAL)
        schemas = old.schema(was.get("schema", {})), new.schema(now.get("schema", {}))
        yield from schema_changes(*schemas, Use.WRITE, named, "its value")
    for key, now in new.parameters.items():
        if key not in old.parameters and now.get("required"):
            named = f"{name}, {now['in']} parameter {now['name']}"
            yield Change(named, "it is new and required", _OPTIONAL)


def _request(name: str, old: _Operation, new: _Operation) -> Iterator[Change]:
    was, now = old.json.get("requestBody"), new.json.get("requestBody")
    named = f"{name}, request body"
    if was is None:
        if now is not None and now.get("required"):
            yield Change(named, "it is new and required", _OPTIONAL)
        return
    if now is None:
        yield Change(named, "it is gone", _KEEP)
        return
    if now.get("required") and not was.get("required"):
        yield Change(named, "it is required now", _OPTIONAL)
    yield from _media(named, Use.WRITE, (was, old), (now, new))


def _security(name: str, old: _Operation, new: _Operation) -> Iterator[Change]:
    was, now = (_credentials(operation) for operation in (old, new))
    for credentials in sorted(was - now):
        what = f"it does not accept {credentials} any more"
        yield Change(name, what, _ADMIT)


def _credentials(operation: _Operation) -> set[str]:
    """The ways to authenticate, each of which is enough."""
    ways = operation.json.get("security", operation.document.get("security", ())) or [{}]
    return {" with ".join(sorted(way)) or "requests without credentials" for way in ways}


def _responses(name: str, old: _Operation, new: _Operation) -> Iterator[Change]:
    for status, was in old.json["responses"].items():
        named, now = f"{name}, response {status}", new.json["responses"].get(status)
        if now is None:
            yield Change(named, "the status is gone", _HANDLE)
            continue
        yield from _gone(named, "header", was.get("headers", {}), now.get("headers", {}))
        yield from _gone(named, "problem code", _codes(was), _codes(now))
        yield from _media(named, Use.READ, (was, old), (now, new))


def _media(
    name: str, use: Use, old: tuple[Json, _Operation], new: tuple[Json, _Operation]
) -> Iterator[Change]:
    """Compare the bodies of each media type."""
    was, now = old[0].get("content", {}), new[0].get("content", {})
    yield from _gone(name, "media type", was, now)
    for kind in sorted(was.keys() & now.keys()):
        before = old[1].schema(was[kind].get("schema", {}))
        after = new[1].schema(now[kind].get("schema", {}))
        yield from schema_changes(before, after, use, name, "the body")


def _gone(name: str, what: str, old: Iterable[str], new: Iterable[str]) -> Iterator[Change]:
    for each in sorted(set(old) - set(new)):
        yield Change(name, f"the {what} {each} is gone", _HANDLE)


def _codes(response: Json) -> Iterable[str]:
    examples: Mapping[str, Any] = response.get("content", {}).get(_PROBLEM, {}).get("examples", {})
    return examples
