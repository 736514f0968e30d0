"""Settings: an invalid value stops the start with a message that names the variable."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from auth_service.settings import ApiSettings, DatabaseSettings, RelaySettings
from service_kit.process.load import load
from service_kit.process.settings import ServiceSettings
from tests.support.environment import Environment
from tests.support.pems import pem
from tests.support.processes import run
from tests.support.system import COMMANDS

DATABASE = "postgresql://auth:hunter2@db.example:5433/auth"
LOADED = DATABASE.replace("postgresql", "postgresql+asyncpg")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    environment = Environment(monkeypatch, tmp_path)
    environment.unset(*(name for name in os.environ if name.startswith("AUTH_")))
    return environment


@pytest.fixture
def complete(environment: Environment, private_pem: str) -> Environment:
    environment.set(
        AUTH_DATABASE_URL=DATABASE,
        AUTH_AMQP_URL="amqp://guest:guest@mq.example/",
        AUTH_ISSUER="https://auth.example",
        AUTH_PRIVATE_KEY=private_pem,
    )
    return environment


@pytest.mark.usefixtures("complete")
def test_a_complete_environment_is_accepted() -> None:
    for settings in (DatabaseSettings, ApiSettings, RelaySettings):
        given = load(settings).model_fields_set
        assert given <= {"database_url", "amqp_url", "issuer", "private_key"}, settings


NO_DATABASES = """
    mysql://auth:hunter2@db/auth hunter2 postgresql://auth:hunter2@db:port/auth
    postgresql://auth:hunter2@[::1/auth
"""
NO_BROKERS = "http://guest:hunter2@mq/ amqp://guest:hunter2@mq:port/ amqp://guest:hunter2@[::1/"
NO_KEYS = ["hunter2", "-----BEGIN PRIVATE KEY-----\\nhunter2", "/run/secrets/hunter2"]

INVALID: list[tuple[type[ServiceSettings], str, Sequence[str]]] = [
    (DatabaseSettings, "AUTH_DATABASE_URL", ["", *NO_DATABASES.split()]),
    (DatabaseSettings, "AUTH_DATABASE_CONNECTIONS_MAX", ["-98765", "98765"]),
    (DatabaseSettings, "AUTH_STATEMENT_TIMEOUT_MS", ["soon-98765"]),
    (DatabaseSettings, "AUTH_LOCK_TIMEOUT_MS", ["98.765"]),
    (ApiSettings, "AUTH_PORT", ["98765", "hunter2"]),
    (ApiSettings, "AUTH_ISSUER", ["", "hunter2" * 80]),
    (ApiSettings, "AUTH_PUBLIC_URL", ["https://ada:hunter2@auth.example", "hunter2.example"]),
    (ApiSettings, "AUTH_AUDIENCE", [""]),
    (ApiSettings, "AUTH_PRIVATE_KEY", NO_KEYS),
    (ApiSettings, "AUTH_ACCESS_TOKEN_SECONDS", ["98765"]),
    (ApiSettings, "AUTH_PASSWORD_LENGTH_MIN", ["-98765"]),
    (ApiSettings, "AUTH_HASHING_THREADS", ["98765"]),
    (ApiSettings, "AUTH_HASHING_WAITING_MAX", ["-98765"]),
    (ApiSettings, "AUTH_BODY_BYTES_MAX", ["hunter2"]),
    (ApiSettings, "AUTH_DOCS", ["hunter2"]),
    (RelaySettings, "AUTH_AMQP_URL", NO_BROKERS.split()),
    (RelaySettings, "AUTH_RELAY_PORT", ["98765"]),
    (RelaySettings, "AUTH_RELAY_BATCH_SIZE", ["98765"]),
    (RelaySettings, "AUTH_PUBLISH_TIMEOUT_SECONDS", ["-98765"]),
    (RelaySettings, "AUTH_HEARTBEAT_SECONDS", ["-98765"]),
    (RelaySettings, "AUTH_RETRY_SECONDS_MAX", ["hunter2"]),
]


def test_an_invalid_value_is_refused_by_name(complete: Environment) -> None:
    """The message never repeats the value."""
    for settings, name, values in INVALID:
        for value in values:
            message = complete.refusal(settings, **{name: value})
            assert message.startswith(f"{name}: "), value
            assert len(message.splitlines()) == 1, message
            assert not any(secret in message for secret in ("hunter2", "98765", "98.765")), name


def test_a_missing_value_is_refused_by_name(complete: Environment) -> None:
    for settings, name in (
        *((ApiSettings, "AUTH_ISSUER"), (ApiSettings, "AUTH_PRIVATE_KEY")),
        *((RelaySettings, "AUTH_AMQP_URL"), (DatabaseSettings, "AUTH_DATABASE_URL")),
    ):
        complete.unset(name)
        assert f"{name}: " in complete.refusal(settings)


def test_a_secret_is_accepted_instead_of_a_private_key(complete: Environment) -> None:
    """It encrypts keys in the database."""
    complete.unset("AUTH_PRIVATE_KEY")
    assert "AUTH_SECRET" in complete.refusal(ApiSettings)
    complete.set(AUTH_SECRET="a secret of more than thirty-two characters")
    assert load(ApiSettings).configured_key is None


def test_all_invalid_values_are_named_at_once(environment: Environment) -> None:
    """Operators can fix them in one go."""
    message = environment.refusal(ApiSettings, AUTH_PORT="x")
    names = {line.partition(":")[0] for line in message.splitlines()}
    assert names == {"AUTH_DATABASE_URL", "AUTH_ISSUER", "AUTH_PRIVATE_KEY", "AUTH_PORT"}


def test_the_usual_spellings_of_a_database_url_are_accepted(environment: Environment) -> None:
    for scheme in ("postgresql", "postgres", "postgresql+asyncpg"):
        environment.set(AUTH_DATABASE_URL=DATABASE.replace("postgresql", scheme))
        assert load(DatabaseSettings).database_url == LOADED, scheme


def test_a_variable_takes_precedence_over_its_file(environment: Environment) -> None:
    """The order is environment, ``NAME_FILE``, ``.env``."""
    (environment.folder / "number").write_text("2")
    (environment.folder / ".env").write_text(f"AUTH_PORT=3\nAUTH_DATABASE_URL={DATABASE}\n")
    environment.set(
        AUTH_DATABASE_CONNECTIONS_MAX="1",
        AUTH_DATABASE_CONNECTIONS_MAX_FILE=str(environment.folder / "number"),
        AUTH_LOCK_TIMEOUT_MS="100",
    )

    loaded = load(DatabaseSettings)

    assert (loaded.database_connections_max, loaded.database_url) == (1, LOADED)


@pytest.mark.parametrize("around", ["\n", "\r\n", " \r\n\r\n", "\t", "\u00a0", "\ufeff"])
def test_space_around_a_value_is_ignored(environment: Environment, around: str) -> None:
    """Byte order marks, blanks and line ends, in files, in the environment and in ``.env``."""
    (environment.folder / "secret").write_bytes(f"\ufeff{DATABASE}{around}".encode())
    (environment.folder / ".env").write_bytes(
        f"\ufeffAUTH_DATABASE_URL_FILE=secret\r\nAUTH_AMQP_URL='amqp://mq/{around}'\r\n".encode()
    )
    environment.set(AUTH_ISSUER=f"{around}https://auth.example{around}")

    loaded = load(RelaySettings)

    found = (loaded.database_url, loaded.issuer, loaded.amqp_url)
    assert found == (LOADED, "https://auth.example", "amqp://mq/")


@pytest.mark.parametrize("inside", ["\n", "\r\n", "\t", "\x1b", "\u200b", "\ufeff", "\u2028"])
@pytest.mark.parametrize("is_file", [True, False], ids=["file", "variable"])
def test_a_secret_with_a_line_break_inside_is_refused(
    complete: Environment, inside: str, is_file: bool
) -> None:
    """Two secrets in a file, or a wrapped one, would silently become a different secret."""
    value, file = f"hunter2{inside}{'hunter2' * 8}", complete.folder / "secret"
    file.write_bytes(value.encode())
    given = {"AUTH_SECRET_FILE": str(file)} if is_file else {"AUTH_SECRET": value}

    message = complete.refusal(ApiSettings, **given)

    assert message.startswith("AUTH_SECRET: must be one line without invisible characters")
    assert len(message.splitlines()) == 1
    assert "hunter2" not in message


def test_a_key_may_have_several_lines(complete: Environment, private_pem: str) -> None:
    """PEM files do; the same key may also be the previous secret."""
    key = complete.folder / "key"
    key.write_bytes(b"\xef\xbb\xbf" + private_pem.replace("\n", "\r\n").encode())
    complete.unset("AUTH_PRIVATE_KEY")
    complete.set(AUTH_PRIVATE_KEY_FILE=str(key), AUTH_PREVIOUS_SECRET_FILE=str(key))
    assert load(ApiSettings).secrets


def test_a_weak_private_key_stops_the_start(complete: Environment) -> None:
    """Verifiers would refuse its public half."""
    key = rsa.generate_private_key(public_exponent=3, key_size=2048)
    message = complete.refusal(ApiSettings, AUTH_PRIVATE_KEY=pem(key))
    assert message.startswith("AUTH_PRIVATE_KEY: is not usable: ")
    assert "exponent" in message


def test_a_file_that_is_not_text_is_refused_with_the_reason(environment: Environment) -> None:
    """The message names the variable, and neither content nor path."""
    file, url = environment.folder / "hunter2", DATABASE.encode()
    for content, sentence in (
        (None, ""),  # there is no file
        (DATABASE.encode("utf-16"), "UTF-16"),
        (DATABASE.encode("utf-16-le"), "NUL"),
        *((b"\0" + url, "NUL"), (b"\xff" + url, "UTF-8"), (b"x" * 10_000_000, "bytes")),
    ):
        if content is not None:
            file.write_bytes(content)
        message = environment.refusal(DatabaseSettings, AUTH_DATABASE_URL_FILE=str(file))
        assert message.startswith("AUTH_DATABASE_URL_FILE: "), sentence
        assert sentence in message
        assert "hunter2" not in message, sentence


def test_a_dotenv_in_utf_16_is_refused(environment: Environment) -> None:
    (environment.folder / ".env").write_bytes(f"AUTH_DATABASE_URL={DATABASE}\n".encode("utf-16"))
    assert ".env: is no UTF-8 text" in environment.refusal(DatabaseSettings)


@pytest.mark.parametrize("scheme", ["tcp", "udp", "sctp", "TCP"])
def test_kubernetes_service_variables_are_ignored(complete: Environment, scheme: str) -> None:
    """A Service named ``auth`` sets AUTH_PORT in each container; ``.env`` and the default count."""
    complete.set(AUTH_PORT=f"{scheme}://10.0.0.1:8001", AUTH_RELAY_PORT=f"{scheme}://10.0.0.2:80")
    assert (load(ApiSettings).port, load(RelaySettings).relay_port) == (8001, 8011)
    (complete.folder / ".env").write_text("AUTH_PORT=9001\n")
    assert load(ApiSettings).port == 9001


def test_a_process_with_an_invalid_setting_exits_with_code_2(tmp_path: Path) -> None:
    """It prints the variable's name, but no value and no traceback."""
    names = ("AUTH_DATABASE_URL", "BLOG_DATABASE_URL")
    for command in (*COMMANDS, "auth-service status", "blog-service status"):
        done = run(command, dict.fromkeys(names, "mysql://hunter2@db/auth"), tmp_path)
        assert done.returncode == 2, command
        assert f"{command[:4].upper()}_DATABASE_URL: " in done.stderr
        assert "Traceback" not in done.stderr, command
        assert "hunter2" not in done.stderr + done.stdout, command
