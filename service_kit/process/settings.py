"""Read settings from the environment.

Each setting is an environment variable, or a line of ``.env`` in the current folder. ``NAME_FILE``
may name a file that holds the value, such as a secret. A bad value stops the start with a sentence
that names the variable and never repeats the value.

A byte order mark, blanks and line ends around a value are ignored, because editors and shells add
them; a line break or an invisible character inside it is refused.
"""

import codecs
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from service_kit.process.errors import BadSettings

FILE_BYTES_MAX: Final = 64 * 1024
"""The largest file of one setting; the largest private key has under 10 KB."""

SEVERAL_LINES: Final = "may have several lines"
"""Marks a setting that may hold a key in PEM."""

_AROUND: Final = " \t\r\n\v\f\u00a0\ufeff"

_PEM: Final = "-----BEGIN"
"""A key, which ``contracts.tokens.keys`` reads as it is."""

_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)


class ServiceSettings(BaseSettings):
    """Base of all settings; a service's subclass sets its prefix (``env_prefix``)."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a setting."""
        return f"{cls.model_config.get('env_prefix', '')}{name}".upper()

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Refuse a class that lost its prefix to a base without one."""
        if not cls.variable("") and any(
            issubclass(base, ServiceSettings) and base.variable("") for base in cls.__mro__
        ):
            raise TypeError(f"{cls.__name__}: name the base that has the prefix last")

    @model_validator(mode="before")
    @classmethod
    def _without_what_editors_add(cls, values: dict[str, Any]) -> dict[str, Any]:
        prefix = cls.model_config.get("env_prefix", "")
        cleaned = {
            name: value.strip(_AROUND) if isinstance(value, str) and _PEM not in value else value
            for name, value in values.items()
        }
        wrong = [
            f"{prefix}{name}: ".upper()
            + "must be one line without invisible characters; remove what is hidden in it"
            for name, value in cleaned.items()
            if name in cls.model_fields
            and isinstance(value, str)
            and not value.isprintable()
            and SEVERAL_LINES not in cls.model_fields[name].metadata
        ]
        if wrong:
            raise ValueError("\n".join(wrong))
        return cleaned

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ours reads NAME_FILE
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: arguments, environment, ``NAME_FILE``; then those of ``.env``."""
        return (
            init_settings,
            _WithoutLinks(settings_cls, env_settings),
            _FromFiles(settings_cls, os.environ),
            dotenv_settings,
            _FromFiles(settings_cls, _variables(dotenv_settings)),
        )


def is_service_link(value: str) -> bool:
    """Whether Kubernetes set the variable for a Service, such as ``AUTH_PORT=tcp://…:8001``.

    For a Service named ``auth`` the variable has the very name of our setting.
    """
    return _SERVICE_LINK.match(value) is not None


def dotenv_variables(settings: type[ServiceSettings]) -> dict[str, str]:
    """The variables in ``.env``, by their names in capitals; raises ``BadSettings``."""
    try:
        return _variables(DotEnvSettingsSource(settings))
    except UnicodeError:
        raise not_utf8() from None


def given_variables(settings: type[ServiceSettings]) -> dict[str, str]:
    """The variables that a process would see: the environment, and ``.env`` below it."""
    return {**dotenv_variables(settings), **os.environ}


def value_now(settings: type[ServiceSettings], name: str) -> str | None:
    """What is in the file that gives a setting; None if no file gives it.

    For secrets that are replaced while a process runs.

    Raises:
        BadSettings: the file cannot be read.
    """
    variable = settings.variable(name)
    for variables in (os.environ, dotenv_variables(settings)):
        if variable in variables:
            return None
        if (path := variables.get(f"{variable}_FILE")) is not None:
            return _file_content(f"{variable}_FILE", path.strip(_AROUND)).strip(_AROUND)
    return None


def _variables(dotenv: PydanticBaseSettingsSource) -> dict[str, str]:
    assert isinstance(dotenv, DotEnvSettingsSource)  # the source of that name
    return {name.upper(): value or "" for name, value in dotenv.env_vars.items()}


def not_utf8() -> BadSettings:
    """The refusal of a ``.env`` that cannot be read."""
    return BadSettings(".env: is no UTF-8 text; save it as UTF-8")


class _WithoutLinks(PydanticBaseSettingsSource):
    """The environment, without the variables of Kubernetes that are named like a setting."""

    def __init__(
        self, settings_cls: type[BaseSettings], environment: PydanticBaseSettingsSource
    ) -> None:
        super().__init__(settings_cls)
        self._environment = environment

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The setting's value in the environment."""
        return self._environment.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        """The values of all settings in the environment."""
        return {
            name: value
            for name, value in self._environment().items()
            if not (name.endswith("port") and isinstance(value, str) and is_service_link(value))
        }


class _FromFiles(PydanticBaseSettingsSource):
    """Reads ``<PREFIX><FIELD>_FILE``, the way containers hand over secrets."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._variables = variables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The setting's value; None when no file is named for it."""
        del field  # only the name matters
        variable = f"{self.config.get('env_prefix', '')}{field_name}_FILE".upper()
        path = self._variables.get(variable)
        value = None if path is None else _file_content(variable, path.strip(_AROUND))
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values of all settings for which a file is named."""
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


def _file_content(variable: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        raise BadSettings(f"{variable}: cannot be read ({why})") from error
    if len(content) > FILE_BYTES_MAX:
        raise BadSettings(f"{variable}: the file it names has more than {FILE_BYTES_MAX} bytes")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadSettings(f"{variable}: the file it names is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeError:
        raise BadSettings(f"{variable}: the file it names holds no UTF-8 text") from None
    if "\0" in text:
        raise BadSettings(f"{variable}: the file it names holds NUL characters; save it as UTF-8")
    return text
