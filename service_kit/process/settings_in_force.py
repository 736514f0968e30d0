"""Show the settings of a process, where each came from, and no secret.

Guarantees: a secret's value is replaced by ``MASK``, and so is a password inside an
address, with any characters. Values are written as in the environment.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import SecretStr

from service_kit.process.settings import ServiceSettings, dotenv_variables, is_service_link

MASK: Final = "********"

_PASSWORD: Final = re.compile(r"(://[^:/?#\s@]*):\S*@")
"""Greedy, so that a password with an ``@`` is covered up to the last one."""

_SECRET_PARAMETER: Final = re.compile(
    r"([?&][^=&\s]*(?:pass|secret|token|key)[^=&\s]*)=[^&\s]*", re.I
)


class Origin(StrEnum):
    """Where the value of a setting came from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"
    """The file that ``NAME_FILE`` names."""
    DOTENV = ".env"
    CODE = "code"
    """The program that made the settings."""


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """A setting: its variable, its value as in the environment (None: not set), and its origin."""

    name: str
    value: str | None
    origin: Origin
    is_secret: bool


def settings_in_force(settings: ServiceSettings) -> list[SettingInForce]:
    """List all settings of a process, by name.

    Call it when the process starts: an origin is that of the environment and ``.env`` as they are.
    """
    environment = {
        name.upper(): value
        for name, value in os.environ.items()
        if not (name.upper().endswith("PORT") and is_service_link(value))
    }
    dotenv = dotenv_variables(type(settings))
    return sorted(
        (
            SettingInForce(
                name=(variable := settings.variable(field)),
                value=_text(value := getattr(settings, field)),
                origin=origin(
                    variable,
                    environment,
                    dotenv,
                    is_given=field in settings.model_fields_set,
                ),
                is_secret=isinstance(value, SecretStr),
            )
            for field in type(settings).model_fields
        ),
        key=lambda each: each.name,
    )


def origin(
    variable: str,
    environment: Mapping[str, str],
    dotenv: Mapping[str, str],
    *,
    is_given: bool,
) -> Origin:
    """Decide where a setting came from, in the order of precedence of ``ServiceSettings``.

    Parameters:
        variable: of the setting.
        environment: the process's variables, by their names in capitals.
        dotenv: those of ``.env``, likewise.
        is_given: whether the setting has a value other than by default.
    """
    if not is_given:
        return Origin.DEFAULT
    for place, found in ((environment, Origin.ENVIRONMENT), (dotenv, Origin.DOTENV)):
        if variable in place:
            return found
        if f"{variable}_FILE" in place:
            return Origin.FILE
    return Origin.CODE


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(_masked(str(each)) for each in value)
    return _masked(str(value))


def _masked(text: str) -> str:
    return _SECRET_PARAMETER.sub(rf"\1={MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))
