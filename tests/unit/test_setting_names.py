"""Misspelt settings are detected, and other variables of the environment are not reported."""

from pathlib import Path

import pytest

import auth_service.settings
import blog_service.settings
from service_kit.process.setting_names import names_of, unknown, written_in
from service_kit.process.settings import ServiceSettings
from tests.support.processes import run

AUTH: type[ServiceSettings] = auth_service.settings.DatabaseSettings
BLOG: type[ServiceSettings] = blog_service.settings.DatabaseSettings


def test_a_misspelt_name_is_reported_with_the_nearest() -> None:
    for name, nearest in (
        ("AUTH_LIMIT_SIGNIM", "AUTH_LIMIT_SIGNIN"),
        ("AUTH_LIMITS_SIGNIN", "AUTH_LIMIT_SIGNIN"),
        ("auth_limit_signim", "AUTH_LIMIT_SIGNIN"),
        ("AUTH_RELY_PORT", "AUTH_RELAY_PORT"),
        ("AUTH_PRIVAT_KEY_FILE", "AUTH_PRIVATE_KEY_FILE"),
        ("AUTH_DATABASEURL", "AUTH_DATABASE_URL"),
        ("AUTH_XYZZY", None),
    ):
        assert unknown([(name, "3/60")], AUTH) == {name.upper(): nearest}, name


OTHERS = """
    AUTH_LIMIT_SIGNIN=30/60 auth_limit_signin=30/60 AUTH_SMTP_URL_FILE=/run/secrets/smtp AUTHORITY=x
    AUTH_RELAY_BATCH_SIZE=500 BLOG_LIMIT_POSTS=1/60 BLOG_LIMIT_POTS=1/60
"""
"""Of this process, of another one of the same service, of another service."""

OF_MAKE_ENV = "AUTH_URL=http://127.0.0.1:8001"

OF_KUBERNETES = """
    AUTH_SERVICE_HOST=10.0.0.1 AUTH_SERVICE_PORT=8001 AUTH_SERVICE_PORT_HTTP=8001
    AUTH_PORT=tcp://10.0.0.1:8001 AUTH_PORT_8001_TCP=tcp://10.0.0.1:8001
    AUTH_PORT_8001_TCP_PROTO=tcp AUTH_PORT_8001_TCP_PORT=8001 AUTH_PORT_8001_TCP_ADDR=10.0.0.1
    AUTH_RELAY_PORT=tcp://10.0.0.1:8011 AUTH_API_PORT=tcp://10.0.0.1:8001
    AUTH_API_SERVICE_HOST=10.0.0.1 AUTH_API_PORT_53_UDP_ADDR=10.0.0.1
"""
"""For Services named auth, auth-relay and auth-api."""


@pytest.mark.parametrize("variable", [*OTHERS.split(), OF_MAKE_ENV, *OF_KUBERNETES.split()])
def test_other_names_are_not_reported(variable: str) -> None:
    name, _, value = variable.partition("=")
    assert unknown([(name, value)], AUTH) == {}


def test_a_service_knows_the_settings_of_all_its_processes() -> None:
    """They share one ``.env``."""
    assert {"AUTH_PORT", "AUTH_RELAY_PORT", "AUTH_SECRET_FILE"} <= names_of(AUTH)
    assert {"BLOG_PORT", "BLOG_CONSUMER_PORT", "BLOG_API_KEY_FILE"} <= names_of(BLOG)
    assert not names_of(AUTH) & names_of(BLOG)


def test_names_are_found_in_common_file_formats() -> None:
    """``.env``, shell exports, both forms of Compose, Kubernetes, systemd."""
    text = """\
A_ONE=1
#A_TWO=2
# A_THREE = 3
export A_FOUR=4
      A_FIVE:
      "A_SIX": ${A_SEVEN:-http://127.0.0.1:${A_EIGHT:-1}}
      - A_NINE=9
      - A_TEN
      - name: A_ELEVEN
        value: "A_NOT"
Environment="A_TWELVE=12"
# Prose that mentions A_NOT_THIS is no setting.
"""
    names = "ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN ELEVEN TWELVE"
    lines = (1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 9, 11)

    found = list(written_in(text))

    assert found == [(line, f"A_{name}") for line, name in zip(lines, names.split(), strict=True)]


def test_settings_check_names_each_misspelt_setting(tmp_path: Path) -> None:
    """In the environment and ``.env``, or in given files; it exits with 1 and shows no value."""
    (tmp_path / ".env").write_text("AUTH_SMTP_ULR=hunter2\nAUTH_ISSUER=x\n")
    environment = {"AUTH_LIMIT_SIGNIM": "hunter2", "AUTH_PORT": "tcp://10.0.0.1:1"}

    here = run("auth-service settings check", environment, tmp_path)
    files = run("auth-service settings check .env", environment, tmp_path)
    (tmp_path / ".env").write_text("AUTH_ISSUER=x\n")
    well = run("auth-service settings check", {}, tmp_path)

    assert here.returncode == files.returncode == 1
    assert "AUTH_LIMIT_SIGNIM is no setting of this service; the nearest is AUTH_LIMIT_SIGNIN" in (
        here.stderr
    )
    assert "AUTH_SMTP_ULR" in here.stderr
    assert "AUTH_PORT" not in here.stderr
    assert ".env:1: AUTH_SMTP_ULR" in files.stderr
    assert "hunter2" not in here.stderr + here.stdout + files.stderr + files.stdout
    assert well.returncode == 0, well.stderr
