"""Convert AMQP values to JSON and back. Pure.

A value without a JSON type becomes an object with one key that starts with ``$``: ``$bytes``
(base64), ``$timestamp`` (ISO 8601), ``$decimal``, ``$float`` (infinity or NaN). A table that looks
like one of these is wrapped in ``$table``.

Guarantees: ``from_json`` reverses ``to_json`` and raises for no JSON value.
"""

import base64
import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final


def to_json(value: Any) -> Any:
    """Convert ``value`` to a JSON value."""
    match value:
        case dict():
            table = {str(name): to_json(member) for name, member in value.items()}
            return {"$table": table} if _tag(table) else table
        case list() | tuple():
            return [to_json(member) for member in value]
        case bytes() | bytearray():
            return {"$bytes": base64.b64encode(value).decode()}
        case datetime():
            return {"$timestamp": value.isoformat()}
        case Decimal():
            return {"$decimal": str(value)}
        case float() if not math.isfinite(value):
            return {"$float": str(value)}
        case _:
            return value


def from_json(value: Any) -> Any:
    """Reverse ``to_json``; a tuple becomes a list, a bytearray becomes bytes."""
    match value:
        case dict():
            tag = _tag(value)
            if tag == "$table" and isinstance(value[tag], dict):
                return _members(value[tag])
            if tag in _READERS:
                try:
                    return _READERS[tag](value[tag])
                except (TypeError, ValueError, InvalidOperation):
                    pass  # not written by ``to_json``
            return _members(value)
        case list():
            return [from_json(member) for member in value]
        case _:
            return value


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$timestamp": datetime.fromisoformat,
    "$decimal": Decimal,
    "$float": float,
}


def _tag(table: dict[str, Any]) -> str:
    """Return the only key of an object if it starts with ``$``, else an empty string."""
    [name, *others] = table or [""]
    return name if name.startswith("$") and not others else ""


def _members(table: dict[str, Any]) -> dict[str, Any]:
    return {name: from_json(member) for name, member in table.items()}
