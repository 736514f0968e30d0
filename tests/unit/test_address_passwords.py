"""An address gets its password from a setting of its own."""

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from auth_service.settings import DatabaseSettings, RelaySettings, ReplaySettings
from service_kit.process.address_passwords import with_password
from service_kit.process.load import load
from tests.support.environment import Environment

HOSTILE = "a@b:c/d?e#f%20 g"
"""Letters that mean something in a URL."""

DATABASE = "postgresql://auth@db.example/auth"
BROKERS = "amqp://relay@a.example/v amqps://relay:own@b.example/v"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(
        monkeypatch, tmp_path, AUTH_DATABASE_URL=DATABASE, AUTH_ISSUER="https://auth.example"
    )


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("amqp://u@a/v", "amqp://u:p%2Fw@a/v"),
        ("amqp://u:own@a/v", "amqp://u:own@a/v"),
        ("amqp://u:@a/v", "amqp://u:@a/v"),
        ("postgresql+asyncpg://u@/d?host=a:5432&host=b:5432", "postgresql+asyncpg://u:p%2Fw@/d?"),
        ("amqps://u@[::1]:5671/v?cafile=/ca.pem", "amqps://u:p%2Fw@[::1]:5671/v?cafile=/ca.pem"),
    ],
)
def test_an_address_without_a_password_gets_it(address: str, found: str) -> None:
    assert with_password(address, "p/w").startswith(found)


def test_a_password_comes_from_a_file_with_any_letters(
    environment: Environment, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{HOSTILE}\n")
    environment.set(
        AUTH_DATABASE_URL="postgresql://auth@a,b:5433/auth",
        AUTH_DATABASE_DIRECT_URL=DATABASE,
        AUTH_DATABASE_PASSWORD_FILE=str(secret),
        AUTH_AMQP_PASSWORD_FILE=str(secret),
        AUTH_AMQP_URL=BROKERS,
    )
    settings = load(RelaySettings)
    assert make_url(settings.database_url).password == HOSTILE
    assert make_url(settings.database_url).host == "db.example"
    first, second = settings.amqp_url.split()
    assert first == "amqp://relay:a%40b%3Ac%2Fd%3Fe%23f%2520%20g@a.example/v"
    assert second.startswith("amqps://relay:own@")
    assert HOSTILE not in repr(settings)


def test_a_password_without_a_user_or_without_letters_stops_the_start(
    environment: Environment,
) -> None:
    """The message names the variable, and no password."""
    for variables, said in (
        (
            {"AUTH_DATABASE_PASSWORD": "hunter2", "AUTH_DATABASE_URL": "postgresql://db/auth"},
            "AUTH_DATABASE_URL: names no user, but a password is set",
        ),
        ({"AUTH_DATABASE_PASSWORD": ""}, "AUTH_DATABASE_PASSWORD: "),
        ({"AUTH_DATABASE_PASSWORD_FILE": "/no/such"}, "AUTH_DATABASE_PASSWORD_FILE: cannot be rea"),
    ):
        message = environment.refusal(DatabaseSettings, **variables)
        assert message.startswith(said)
        assert "hunter2" not in message


def test_a_broker_that_is_not_needed_needs_no_password(environment: Environment) -> None:
    environment.set(AUTH_AMQP_PASSWORD="hunter2")
    assert load(ReplaySettings).amqp_url is None
