"""The checked-in documents: write them, and find those that are out of date or invalid."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

from compatibility.collect import openapi
from compatibility.promises import EVENTS, ROOT, written
from contracts.events import asyncapi

_ASYNCAPI_SCHEMA: Final = Path(__file__).parent / "asyncapi-3.0.0/schema.json"


def current() -> dict[Path, dict[str, Any]]:
    """Make each document from the code, by the file that it is checked in as."""
    return {
        EVENTS / "asyncapi.json": asyncapi.document(EVENTS / "examples"),
        **{
            ROOT / f"contracts/openapi/{service}.json": document
            for service, document in openapi.documents().items()
        },
    }


def write() -> None:
    """Write all documents."""
    for path, document in current().items():
        path.write_text(written(document))


def troubles() -> Iterator[str]:
    """Yield a sentence for each document that is out of date or invalid."""
    for path, document in current().items():
        name = path.relative_to(ROOT)
        if not path.exists() or path.read_text() != written(document):
            yield f"{name} is out of date: run python -m compatibility write"
        faults = asyncapi_faults if path.parent == EVENTS else openapi_faults
        for fault in faults(document):
            yield f"{name} is invalid: {fault}"


def asyncapi_faults(document: dict[str, Any]) -> Iterator[str]:
    """Yield what the official schema of AsyncAPI 3.0.0 refuses, and references to nothing."""
    for error in _asyncapi().iter_errors(document):
        yield from (f"{cause.json_path}: {cause.message}" for cause in _causes(error))
    for reference in _references(document):
        if not _leads_somewhere(reference, document):
            yield f"{reference} refers to nothing"


def openapi_faults(document: dict[str, Any]) -> Iterator[str]:
    """Yield what the official schema and rules of OpenAPI 3.1 refuse."""
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        yield f"{'/'.join(map(str, error.absolute_path))}: {error.message}"


def _causes(error: ValidationError) -> list[ValidationError]:
    """The faults in the alternatives that the schema offers, without that of being no reference."""
    inner = [
        cause
        for each in error.context or ()
        if "'$ref' is a required property" not in each.message
        for cause in _causes(each)
    ]
    return inner or [error]


@cache
def _asyncapi() -> Draft7Validator:
    return Draft7Validator(json.loads(_ASYNCAPI_SCHEMA.read_text()))


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        for value in node.values():
            yield from _references(value)
    if isinstance(node, list):
        for value in node:
            yield from _references(value)


def _leads_somewhere(reference: str, document: dict[str, Any]) -> bool:
    file, _, pointer = reference.partition("#")
    if file:
        return (EVENTS / file).exists()
    found: Any = document
    for step in pointer.removeprefix("/").split("/"):
        if step not in found:
            return False
        found = found[step]
    return True
