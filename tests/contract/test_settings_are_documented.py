"""Every setting appears in .env.example and docker-compose.yml."""

import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

import auth_service.settings
import blog_service.settings
from service_kit.process.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
PROCESSES: dict[str, type[ServiceSettings]] = {
    "auth-api": auth_service.settings.ApiSettings,
    "auth-relay": auth_service.settings.RelaySettings,
    "blog-api": blog_service.settings.ApiSettings,
    # Operators run `blog-service reconcile` in this container too.
    "blog-consumer": blog_service.settings.ConsumerSettings,
}
OF_THE_MACHINE = {"AUTH_HASHING_THREADS"}  # default: number of cores


def variables(settings: type[ServiceSettings]) -> dict[str, object]:
    """Return the environment variables of a process with their defaults."""
    prefix = settings.model_config.get("env_prefix", "")
    return {
        f"{prefix}{name}".upper(): field.default for name, field in settings.model_fields.items()
    }


@pytest.mark.parametrize("process", PROCESSES)
def test_example_settings_show_every_setting_with_its_default(process: str) -> None:
    """A commented line shows the real default; an uncommented one has to be filled in."""
    example = (ROOT / ".env.example").read_text()
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))

    wrong = {
        name: default
        for name, default in variables(PROCESSES[process]).items()
        if name not in shown
        or (
            f"#{name}=" in example and name not in OF_THE_MACHINE and not same(shown[name], default)
        )
    }

    assert not wrong


@pytest.mark.parametrize("process", PROCESSES)
def test_compose_passes_every_setting_to_its_container(process: str) -> None:
    """A setting that the compose file leaves out would be silently ignored."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    handed = compose["services"][process]["environment"]

    missing = [
        name
        for name in variables(PROCESSES[process])
        if name not in handed and f"{name}_FILE" not in handed
    ]

    assert not missing


def same(shown: str, default: object) -> bool:
    """Return whether the text in the example means ``default``."""
    if default is None:
        return shown == "change-me"
    if default == ():
        return shown == ""
    if isinstance(default, bool):
        return shown == str(default).lower()
    return float(shown) == default if isinstance(default, int | float) else shown == str(default)
