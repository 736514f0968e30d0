"""List the commands of both services with their options and arguments."""

from collections.abc import Iterator
from typing import Any, Final

import typer

import auth_service.cli
import blog_service.cli

PROGRAMS: Final = {"auth-service": auth_service.cli.app, "blog-service": blog_service.cli.app}

_TYPES: Final = {"bool": "boolean", "float": "number", "int": "integer", "str": "string"}
"""The names that JSON schemas have for these types."""


def commands() -> dict[str, Any]:
    """Map each command, such as ``auth-service keys list``, to its options and arguments."""
    return {
        name: {
            "options": {
                option: _described(each)
                for each in command.params
                if each.param_type_name == "option"
                for option in (*each.opts, *each.secondary_opts)
            },
            "arguments": [
                {"name": each.metavar or each.name.upper(), **_described(each)}
                for each in command.params
                if each.param_type_name == "argument"
            ],
        }
        for program, app in PROGRAMS.items()
        for name, command in _leaves(program, typer.main.get_command(app))
    }


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for word, each in below.items():
        yield from _leaves(f"{name} {word}", each)


def _described(parameter: Any) -> dict[str, Any]:
    """What a script gives, and what happens without it."""
    described = parameter.type_descriptor
    kind = "string" if described.is_choice else parameter.bare_type()
    schema = {
        "type": _TYPES.get(kind, kind),
        "enum": [getattr(each, "value", each) for each in described.choices or ()] or None,
        "minimum": parameter.min,
        "maximum": parameter.max,
    }
    default = parameter.default
    return {
        "required": parameter.required,
        "many": getattr(parameter, "multiple", False) or parameter.nargs != 1,
        "is_flag": getattr(parameter, "is_flag", False),
        "default": default
        if isinstance(default, bool | int | float | str | None)
        else str(default),
        "schema": {keyword: value for keyword, value in schema.items() if value is not None},
    }
