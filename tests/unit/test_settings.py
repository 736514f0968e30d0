"""Settings: a bad value stops the start with a sentence that names the variable, not the value."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from auth_service.settings import ApiSettings, DatabaseSettings, RelaySettings
from contracts.settings import BadSettings, ServiceSettings, load
from tests.support.processes import run

DATABASE = "postgresql://auth:hunter2@db.example:5433/auth"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from this machine's environment or current folder."""
    for name in [name for name in os.environ if name.startswith("AUTH_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def complete(private_pem: str) -> dict[str, str]:
    """An environment that lacks nothing."""
    return {
        "AUTH_DATABASE_URL": DATABASE,
        "AUTH_AMQP_URL": "amqp://guest:guest@mq.example/",
        "AUTH_ISSUER": "https://auth.example",
        "AUTH_PRIVATE_KEY": private_pem,
    }


def refusal(
    settings: type[ServiceSettings], environment: Mapping[str, str], patch: pytest.MonkeyPatch
) -> str:
    """What stops the start in ``environment``."""
    for name, value in environment.items():
        patch.setenv(name, value)
    with pytest.raises(BadSettings) as caught:
        load(settings)
    return str(caught.value)


@pytest.mark.parametrize("settings", [DatabaseSettings, ApiSettings, RelaySettings])
def test_a_complete_environment_is_accepted(
    settings: type[ServiceSettings], complete: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process starts with what it needs."""
    for name, value in complete.items():
        monkeypatch.setenv(name, value)

    loaded = load(settings)

    assert loaded.model_fields_set <= {"database_url", "amqp_url", "issuer", "private_key"}


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (DatabaseSettings, "AUTH_DATABASE_URL", "mysql://auth:hunter2@db/auth"),
        (DatabaseSettings, "AUTH_DATABASE_URL", "hunter2"),
        (DatabaseSettings, "AUTH_DATABASE_URL", ""),
        (DatabaseSettings, "AUTH_DATABASE_URL", "postgresql://auth:hunter2@db:port/auth"),
        (DatabaseSettings, "AUTH_DATABASE_URL", "postgresql://auth:hunter2@[::1/auth"),
        (DatabaseSettings, "AUTH_DATABASE_CONNECTIONS_MAX", "-98765"),
        (DatabaseSettings, "AUTH_DATABASE_CONNECTIONS_MAX", "98765"),
        (DatabaseSettings, "AUTH_STATEMENT_TIMEOUT_MS", "soon-98765"),
        (DatabaseSettings, "AUTH_LOCK_TIMEOUT_MS", "98.765"),
        (ApiSettings, "AUTH_PORT", "98765"),
        (ApiSettings, "AUTH_PORT", "hunter2"),
        (ApiSettings, "AUTH_ISSUER", ""),
        (ApiSettings, "AUTH_ISSUER", "hunter2" * 80),
        (ApiSettings, "AUTH_PUBLIC_URL", "https://ada:hunter2@auth.example"),
        (ApiSettings, "AUTH_PUBLIC_URL", "hunter2.example"),
        (ApiSettings, "AUTH_AUDIENCE", ""),
        (ApiSettings, "AUTH_PRIVATE_KEY", "hunter2"),
        (ApiSettings, "AUTH_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\\nhunter2"),
        (ApiSettings, "AUTH_PRIVATE_KEY", "/run/secrets/hunter2"),
        (ApiSettings, "AUTH_ACCESS_TOKEN_SECONDS", "98765"),
        (ApiSettings, "AUTH_PASSWORD_LENGTH_MIN", "-98765"),
        (ApiSettings, "AUTH_HASHING_THREADS", "98765"),
        (ApiSettings, "AUTH_HASHING_WAITING_MAX", "-98765"),
        (ApiSettings, "AUTH_BODY_BYTES_MAX", "hunter2"),
        (ApiSettings, "AUTH_DOCS", "hunter2"),
        (RelaySettings, "AUTH_AMQP_URL", "http://guest:hunter2@mq/"),
        (RelaySettings, "AUTH_AMQP_URL", "amqp://guest:hunter2@mq:port/"),
        (RelaySettings, "AUTH_AMQP_URL", "amqp://guest:hunter2@[::1/"),
        (RelaySettings, "AUTH_RELAY_PORT", "98765"),
        (RelaySettings, "AUTH_RELAY_BATCH_SIZE", "98765"),
        (RelaySettings, "AUTH_PUBLISH_TIMEOUT_SECONDS", "-98765"),
        (RelaySettings, "AUTH_HEARTBEAT_SECONDS", "-98765"),
        (RelaySettings, "AUTH_RETRY_SECONDS_MAX", "hunter2"),
    ],
)
def test_a_bad_value_is_refused_by_name(
    settings: type[ServiceSettings],
    name: str,
    value: str,
    complete: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sentence names the variable and never repeats the value."""
    message = refusal(settings, complete | {name: value}, monkeypatch)

    assert message.startswith(f"{name}: ")
    assert len(message.splitlines()) == 1
    assert not any(secret in message for secret in ("hunter2", "98765", "98.765"))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (DatabaseSettings, "AUTH_DATABASE_URL"),
        (ApiSettings, "AUTH_ISSUER"),
        (ApiSettings, "AUTH_PRIVATE_KEY"),
        (RelaySettings, "AUTH_AMQP_URL"),
    ],
)
def test_a_missing_value_is_named(
    settings: type[ServiceSettings],
    name: str,
    complete: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has no default is asked for."""
    del complete[name]

    assert refusal(settings, complete, monkeypatch).startswith(f"{name}: ")


def test_without_a_private_key_a_secret_is_enough(
    complete: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For keys in the database."""
    del complete["AUTH_PRIVATE_KEY"]
    assert "AUTH_SECRET" in refusal(ApiSettings, complete, monkeypatch)

    monkeypatch.setenv("AUTH_SECRET", "a secret of more than thirty-two characters")

    assert load(ApiSettings).configured_key is None


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator mends all of them in one go."""
    message = refusal(ApiSettings, {"AUTH_PORT": "x"}, monkeypatch)

    names = {line.partition(":")[0] for line in message.splitlines()}
    assert names == {"AUTH_DATABASE_URL", "AUTH_ISSUER", "AUTH_PRIVATE_KEY", "AUTH_PORT"}


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_the_usual_spellings_of_a_database_address_are_accepted(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the platform hands over, the driver is asyncpg."""
    monkeypatch.setenv("AUTH_DATABASE_URL", DATABASE.replace("postgresql", scheme))

    loaded = load(DatabaseSettings)

    assert loaded.database_url == DATABASE.replace("postgresql", "postgresql+asyncpg")


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``NAME_FILE`` names a file that holds the value; its last line end does not count."""
    file = tmp_path / "secret"
    file.write_text(f"{DATABASE}\n")
    monkeypatch.setenv("AUTH_DATABASE_URL_FILE", str(file))

    loaded = load(DatabaseSettings)

    assert loaded.database_url.endswith("@db.example:5433/auth")


def test_the_variable_itself_comes_before_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, then ``NAME_FILE``, then ``.env``."""
    (tmp_path / "port").write_text("2")
    (tmp_path / ".env").write_text(f"AUTH_PORT=3\nAUTH_DATABASE_URL={DATABASE}\n")
    monkeypatch.setenv("AUTH_DATABASE_CONNECTIONS_MAX", "1")
    monkeypatch.setenv("AUTH_DATABASE_CONNECTIONS_MAX_FILE", str(tmp_path / "port"))
    monkeypatch.setenv("AUTH_LOCK_TIMEOUT_MS", "100")

    loaded = load(DatabaseSettings)

    assert loaded.database_connections_max == 1
    assert loaded.database_url.endswith("@db.example:5433/auth")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_an_unreadable_file_is_refused_by_name(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is missing, or holds no text, names its variable."""
    file = tmp_path / "hunter2"
    if content is not None:
        file.write_bytes(content)

    message = refusal(DatabaseSettings, {"AUTH_DATABASE_URL_FILE": str(file)}, monkeypatch)

    assert message.startswith("AUTH_DATABASE_URL_FILE: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("command", ["auth-service api", "auth-service relay"])
def test_a_process_with_a_bad_value_ends_with_a_sentence(command: str, tmp_path: Path) -> None:
    """Exit code 2, no traceback, the variable's name and not its value."""
    done = run(command, {"AUTH_DATABASE_URL": "mysql://hunter2@db/auth"}, tmp_path)

    assert done.returncode == 2
    assert "AUTH_DATABASE_URL: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
