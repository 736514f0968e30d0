"""Every setting is where an operator looks for it: in .env.example and in docker-compose.yml."""

import re
from pathlib import Path

import pytest

import auth_service.settings
import blog_service.settings
from contracts.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
PROCESSES: list[type[ServiceSettings]] = [
    auth_service.settings.ApiSettings,
    auth_service.settings.RelaySettings,
    blog_service.settings.ApiSettings,
    blog_service.settings.ConsumerSettings,
]
OF_THE_MACHINE = {"AUTH_HASHING_THREADS"}  # whose default is the number of cores


def variables(settings: type[ServiceSettings]) -> dict[str, object]:
    """The variables of a process, with their defaults."""
    prefix = settings.model_config.get("env_prefix", "")
    return {
        f"{prefix}{name}".upper(): field.default for name, field in settings.model_fields.items()
    }


@pytest.mark.parametrize("settings", PROCESSES, ids=lambda s: f"{s.__module__}.{s.__name__}")
def test_example_settings_name_each_setting_with_its_default(
    settings: type[ServiceSettings],
) -> None:
    """What is commented out shows the true default; what has none is to be filled in."""
    example = (ROOT / ".env.example").read_text()
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))

    wrong = {
        name: default
        for name, default in variables(settings).items()
        if name not in shown
        or (
            f"#{name}=" in example and name not in OF_THE_MACHINE and not same(shown[name], default)
        )
    }

    assert not wrong


@pytest.mark.parametrize("settings", PROCESSES, ids=lambda s: f"{s.__module__}.{s.__name__}")
def test_containers_are_handed_each_setting(settings: type[ServiceSettings]) -> None:
    """A setting that the compose file does not pass on would be ignored without a word."""
    compose = (ROOT / "docker-compose.yml").read_text()

    missing = [
        name for name in variables(settings) if not re.search(rf"^ +{name}:", compose, re.MULTILINE)
    ]

    assert not missing


def same(shown: str, default: object) -> bool:
    """Whether the text in the example means the default."""
    if default is None:
        return shown == "change-me"
    if default == ():
        return shown == ""
    if isinstance(default, bool):
        return shown == str(default).lower()
    return float(shown) == default if isinstance(default, int | float) else shown == str(default)
