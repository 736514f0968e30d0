"""Settings are shown with their origin, and never with a secret."""

from pathlib import Path

import pytest

import auth_service.settings
import blog_service.settings
from service_kit.process.load import load
from service_kit.process.settings import ServiceSettings
from service_kit.process.settings_in_force import (
    MASK,
    Origin,
    SettingInForce,
    origin,
    settings_in_force,
)
from tests.support.processes import run

CANARY = "canary-p@ss:word/?#"
QUOTED = "canary-p%40ss"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(settings: ServiceSettings) -> dict[str, SettingInForce]:
    return {each.name: each for each in settings_in_force(settings)}


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch, private_pem: str) -> None:
    """Of no kind: secrets, passwords in addresses, and passwords put into addresses."""
    given = {
        "AUTH_DATABASE_URL": "postgresql://auth@db/auth?sslmode=require&sslpassword=canary-key",
        "AUTH_DATABASE_PASSWORD": CANARY,
        "AUTH_DATABASE_DIRECT_URL": f"postgresql://auth:{QUOTED}@db:5433/auth",
        "AUTH_SECRET": f"{CANARY} of more than thirty-two characters",
        "AUTH_PREVIOUS_SECRET": f"{CANARY} of more than thirty-two characters, before",
        "AUTH_PRIVATE_KEY": private_pem,
        "AUTH_FIREBASE_SIGNER_KEY": "Y2FuYXJ5",
        "AUTH_SMTP_URL": f"smtp://user:{QUOTED}@mail.example:587",
        "AUTH_ISSUER": "https://auth.example",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = shown(load(auth_service.settings.ApiSettings))
    text = str(found)
    assert "canary" not in text
    assert "Y2FuYXJ5" not in text
    assert "PRIVATE KEY" not in text
    assert found["AUTH_DATABASE_URL"].value == (
        f"postgresql+asyncpg://auth:{MASK}@db/auth?sslmode=require&sslpassword={MASK}"
    )
    assert found["AUTH_SECRET"] == SettingInForce("AUTH_SECRET", MASK, Origin.ENVIRONMENT, True)

    monkeypatch.setenv("AUTH_AMQP_URL", f"amqp://a:{QUOTED}@one/v amqps://a@two/v?heartbeat=10")
    monkeypatch.setenv("AUTH_AMQP_PASSWORD", CANARY)
    relay = shown(load(auth_service.settings.RelaySettings))
    assert "canary" not in str(relay)
    masked = f"amqp://a:{MASK}@one/v amqps://a:{MASK}@two/v?heartbeat=10"
    assert relay["AUTH_AMQP_URL"].value == masked


def test_each_value_says_where_it_came_from(
    in_an_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, public_pem: str
) -> None:
    """In the order in which the settings are read."""
    (in_an_empty_folder / "key.pem").write_text(public_pem)
    (in_an_empty_folder / ".env").write_text(
        "BLOG_LIMIT_POSTS=7/60\nBLOG_ISSUER=https://dotenv.example\n"
    )
    monkeypatch.setenv("BLOG_DATABASE_URL", "postgresql://blog@db/blog")
    monkeypatch.setenv("BLOG_ISSUER", "https://auth.example")
    monkeypatch.setenv("BLOG_PUBLIC_KEY_FILE", "key.pem")
    monkeypatch.setenv("BLOG_PORT", "tcp://10.0.0.1:8002")
    monkeypatch.setenv("BLOG_DOCS", "true")
    monkeypatch.setenv("BLOG_CORS_ORIGINS", "https://a.example,https://b.example")
    found = shown(load(blog_service.settings.ApiSettings))

    def says(name: str) -> tuple[str | None, str]:
        return found[name].value, found[name].origin

    assert says("BLOG_ISSUER") == ("https://auth.example", "environment")
    assert says("BLOG_LIMIT_POSTS") == ("7/60", ".env")
    assert says("BLOG_PUBLIC_KEY") == (public_pem, "file")
    assert says("BLOG_PORT") == ("8002", "default")
    assert says("BLOG_DOCS") == ("true", "environment")
    assert says("BLOG_CORS_ORIGINS") == ("https://a.example,https://b.example", "environment")
    assert says("BLOG_API_KEY") == (None, "default")
    assert list(found) == sorted(found)


def test_a_value_that_the_program_gave_is_of_the_code() -> None:
    assert origin("AUTH_PORT", {}, {}, is_given=True) is Origin.CODE
    assert origin("AUTH_PORT", {"AUTH_PORT": "1"}, {}, is_given=False) is Origin.DEFAULT


def test_the_command_shows_the_settings_of_a_process(in_an_empty_folder: Path) -> None:
    """One a line."""
    environment = {
        "AUTH_DATABASE_URL": "postgresql://auth:canary@db/auth",
        "AUTH_AMQP_URL": "amqp://relay:canary@mq/users",
        "AUTH_ISSUER": "https://auth.example",
    }
    ended = run("auth-service settings show relay", environment, in_an_empty_folder)
    assert ended.returncode == 0, ended.stderr
    assert f"AUTH_AMQP_URL=amqp://relay:{MASK}@mq/users  (environment)" in ended.stdout
    assert "AUTH_RELAY_PORT=8011  (default)" in ended.stdout
    assert "canary" not in ended.stdout
