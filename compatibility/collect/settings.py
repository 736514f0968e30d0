"""List the settings of all processes: what a value may be, the default, and who requires it."""

from collections.abc import Iterator
from typing import Any, Final

import auth_service.settings
import blog_service.settings
from service_kit.process.settings import ServiceSettings

PROCESSES: Final[dict[str, type[ServiceSettings]]] = {
    "auth-service api": auth_service.settings.ApiSettings,
    "auth-service relay": auth_service.settings.RelaySettings,
    "auth-service status": auth_service.settings.StatusSettings,
    "auth-service keys": auth_service.settings.KeySettings,
    "auth-service replay start": auth_service.settings.ReplaySettings,
    "auth-service users": auth_service.settings.OperatorSettings,
    "the auth database's migrations": auth_service.settings.MigrationSettings,
    "blog-service api": blog_service.settings.ApiSettings,
    "blog-service consumer": blog_service.settings.ConsumerSettings,
    "blog-service reconcile": blog_service.settings.ReconcileSettings,
    "blog-service status": blog_service.settings.StatusSettings,
    "the blog database's migrations": blog_service.settings.MigrationSettings,
}

_BY_MACHINE: Final = {"AUTH_HASHING_THREADS": "the number of cores"}
"""Defaults that differ from machine to machine."""


def settings() -> dict[str, Any]:
    """Map each variable to its description.

    ``default`` and ``schema`` are those of the first process that reads the setting;
    ``otherwise`` has both for each process where they differ, and ``required_by`` names processes.
    """
    found: dict[str, Any] = {}
    for process, variable, described, is_required in _read():
        setting = found.setdefault(variable, {**described, "otherwise": {}, "required_by": []})
        if any(setting[part] != described[part] for part in described):
            setting["otherwise"][process] = described
        if is_required:
            setting["required_by"].append(process)
    return dict(sorted(found.items()))


def _read() -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    for process, model in PROCESSES.items():
        whole = model.model_json_schema()
        definitions = whole.get("$defs", {})
        for name, schema in whole["properties"].items():
            variable = model.variable(name)
            described = {
                "default": _BY_MACHINE.get(variable, schema.pop("default", None)),
                "schema": {**schema, "$defs": definitions} if "$ref" in str(schema) else schema,
            }
            yield process, variable, described, name in whole.get("required", ())
