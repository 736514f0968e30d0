"""Show a JSON schema as a table of its fields, and any value in a cell of a table. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Json = Mapping[str, Any]

_DEEPEST: Final = 5
"""Levels of fields within fields that are shown; ours have three."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, without empty columns, and nothing without rows."""
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    if kept:
        yield f"| {' | '.join(head[column] for column in kept)} |"
        yield f"|{'---|' * len(kept)}"
        for row in rows:
            yield f"| {' | '.join(_cell(row[column]) for column in kept)} |"
        yield ""


def fields(schema: Json, document: Json) -> list[tuple[str, str, str, str]]:
    """List all fields: path, type, whether it is required, and meaning.

    Parameters:
        schema: of the data.
        document: in which its references are looked up.
    """
    return list(_fields(schema, document, "", _DEEPEST))


def type_of(schema: Json, document: Json) -> str:
    """Say in words what a value may be."""
    schema = resolved(schema, document)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            kinds = (type_of(each, document) for each in schema[keyword])
            return " or ".join(dict.fromkeys(kinds))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}), document)}{_limits(schema, 'Items')}"
    if "format" in schema:
        kind = {"date-time": "time", "uuid": "UUID"}.get(schema["format"], schema["format"])
    pattern = f", `{schema['pattern']}`" if "pattern" in schema else ""
    return f"{kind}{_limits(schema, 'Length')}{_limits(schema, 'imum')}{pattern}"


def resolved(schema: Json, document: Json) -> Json:
    """Follow references, and merge the single part of an ``allOf``."""
    while "$ref" in schema:
        found: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**found, **beside}
    return schema


def meaning(schema: Json) -> str:
    """The first paragraph of a schema's description, in one line."""
    first = str(schema.get("description", "")).partition("\n\n")[0]
    return " ".join(first.replace("``", "`").split())


def _fields(
    schema: Json, document: Json, path: str, levels: int
) -> Iterator[tuple[str, str, str, str]]:
    schema = resolved(schema, document)
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _fields(each, document, path, levels)
    if schema.get("type") == "array":
        yield from _fields(schema.get("items", {}), document, f"{path}[]", levels)
    required = schema.get("required", ())
    for name, below in schema.get("properties", {}).items():
        here = f"{path}.{name}".removeprefix(".")
        is_required = "required" if name in required else ""
        yield f"`{here}`", type_of(below, document), is_required, meaning(below)
        if levels:
            yield from _fields(below, document, here, levels - 1)


def _limits(schema: Json, of: str) -> str:
    """Both limits of one kind, such as ``minLength`` and ``maxLength``, with their unit."""
    lowest, highest = schema.get(f"min{of}"), schema.get(f"max{of}")
    unit = {"Length": " characters", "Items": " items", "imum": ""}[of]
    if lowest is not None and highest is not None:
        return f", {lowest:,} to {highest:,}{unit}"
    if highest is not None:
        return f", at most {highest:,}{unit}"
    return "" if lowest is None else f", at least {lowest:,}{unit}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
