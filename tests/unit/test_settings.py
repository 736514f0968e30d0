"""Settings: an invalid value stops the start with a message that names the variable."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from auth_service.settings import ApiSettings, DatabaseSettings, RelaySettings
from service_kit.process.errors import BadSettings
from service_kit.process.load import load
from service_kit.process.settings import ServiceSettings
from tests.support.processes import run

DATABASE = "postgresql://auth:hunter2@db.example:5433/auth"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the settings of this machine's environment and folder."""
    for name in [name for name in os.environ if name.startswith("AUTH_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def complete(private_pem: str) -> dict[str, str]:
    """Return a complete environment."""
    return {
        "AUTH_DATABASE_URL": DATABASE,
        "AUTH_AMQP_URL": "amqp://guest:guest@mq.example/",
        "AUTH_ISSUER": "https://auth.example",
        "AUTH_PRIVATE_KEY": private_pem,
    }


def refusal(
    settings: type[ServiceSettings], environment: Mapping[str, str], patch: pytest.MonkeyPatch
) -> str:
    """Return the message that stops the start in ``environment``."""
    for name, value in environment.items():
        patch.setenv(name, value)
    with pytest.raises(BadSettings) as caught:
        load(settings)
    return str(caught.value)


@pytest.mark.parametrize("settings", [DatabaseSettings, ApiSettings, RelaySettings])
def test_a_complete_environment_is_accepted(
    settings: type[ServiceSettings], complete: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every process."""
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
def test_an_invalid_value_is_refused_by_name(
    settings: type[ServiceSettings],
    name: str,
    value: str,
    complete: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message never repeats the value."""
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
def test_a_missing_value_is_refused_by_name(
    settings: type[ServiceSettings],
    name: str,
    complete: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it has no default."""
    del complete[name]
    assert refusal(settings, complete, monkeypatch).startswith(f"{name}: ")


def test_a_secret_is_accepted_instead_of_a_private_key(
    complete: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It encrypts keys in the database."""
    del complete["AUTH_PRIVATE_KEY"]
    assert "AUTH_SECRET" in refusal(ApiSettings, complete, monkeypatch)
    monkeypatch.setenv("AUTH_SECRET", "a secret of more than thirty-two characters")
    assert load(ApiSettings).configured_key is None


def test_all_invalid_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators can fix them in one go."""
    message = refusal(ApiSettings, {"AUTH_PORT": "x"}, monkeypatch)
    names = {line.partition(":")[0] for line in message.splitlines()}
    assert names == {"AUTH_DATABASE_URL", "AUTH_ISSUER", "AUTH_PRIVATE_KEY", "AUTH_PORT"}


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_the_usual_spellings_of_a_database_url_are_accepted(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver is always asyncpg."""
    monkeypatch.setenv("AUTH_DATABASE_URL", DATABASE.replace("postgresql", scheme))
    loaded = load(DatabaseSettings)
    assert loaded.database_url == DATABASE.replace("postgresql", "postgresql+asyncpg")


def test_a_value_can_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``NAME_FILE`` names it; the final line break does not count."""
    file = tmp_path / "secret"
    file.write_text(f"{DATABASE}\n")
    monkeypatch.setenv("AUTH_DATABASE_URL_FILE", str(file))
    loaded = load(DatabaseSettings)
    assert loaded.database_url.endswith("@db.example:5433/auth")


def test_a_variable_takes_precedence_over_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is environment, ``NAME_FILE``, ``.env``."""
    (tmp_path / "port").write_text("2")
    (tmp_path / ".env").write_text(f"AUTH_PORT=3\nAUTH_DATABASE_URL={DATABASE}\n")
    monkeypatch.setenv("AUTH_DATABASE_CONNECTIONS_MAX", "1")
    monkeypatch.setenv("AUTH_DATABASE_CONNECTIONS_MAX_FILE", str(tmp_path / "port"))
    monkeypatch.setenv("AUTH_LOCK_TIMEOUT_MS", "100")

    loaded = load(DatabaseSettings)

    assert loaded.database_connections_max == 1
    assert loaded.database_url.endswith("@db.example:5433/auth")


@pytest.mark.parametrize("around", ["\n", "\r\n", " \r\n\r\n", "\t", "\u00a0", "\ufeff"])
def test_space_around_a_value_is_ignored(
    around: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte order marks, blanks and line ends, in files, in the environment and in ``.env``."""
    (tmp_path / "secret").write_bytes(f"\ufeff{DATABASE}{around}".encode())
    (tmp_path / ".env").write_bytes(
        f"\ufeffAUTH_DATABASE_URL_FILE=secret\r\nAUTH_AMQP_URL='amqp://mq/{around}'\r\n".encode()
    )
    monkeypatch.setenv("AUTH_ISSUER", f"{around}https://auth.example{around}")

    loaded = load(RelaySettings)

    assert loaded.database_url == DATABASE.replace("postgresql", "postgresql+asyncpg")
    assert loaded.issuer == "https://auth.example"
    assert loaded.amqp_url == "amqp://mq/"


@pytest.mark.parametrize("inside", ["\n", "\r\n", "\t", "\x1b", "\u200b", "\ufeff", "\u2028"])
@pytest.mark.parametrize("is_file", [True, False], ids=["file", "variable"])
def test_a_secret_with_a_line_break_inside_is_refused(
    inside: str,
    is_file: bool,
    complete: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two secrets in a file, or a wrapped one, would silently become a different secret."""
    value = f"hunter2{inside}{'hunter2' * 8}"
    (tmp_path / "secret").write_bytes(value.encode())
    given = {"AUTH_SECRET_FILE": str(tmp_path / "secret")} if is_file else {"AUTH_SECRET": value}

    message = refusal(ApiSettings, complete | given, monkeypatch)

    assert message.startswith("AUTH_SECRET: must be one line without invisible characters")
    assert len(message.splitlines()) == 1
    assert "hunter2" not in message


def test_a_key_may_have_several_lines(
    complete: dict[str, str], private_pem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEM files do; the same key may also be the previous secret."""
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbf" + private_pem.replace("\n", "\r\n").encode())
    del complete["AUTH_PRIVATE_KEY"]
    names = ("AUTH_PRIVATE_KEY_FILE", "AUTH_PREVIOUS_SECRET_FILE")
    for name, value in (complete | dict.fromkeys(names, str(tmp_path / "key"))).items():
        monkeypatch.setenv(name, value)
    assert load(ApiSettings).secrets


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (DATABASE.encode("utf-16"), "UTF-16"),
        (DATABASE.encode("utf-16-le"), "NUL"),
        (b"\0" + DATABASE.encode(), "NUL"),
        (b"\xff" + DATABASE.encode(), "UTF-8"),
        (b"x" * 10_000_000, "bytes"),
    ],
    ids=["UTF-16", "UTF-16 without a mark", "NUL", "Latin", "large"],
)
def test_a_file_that_is_not_text_is_refused_with_the_reason(
    content: bytes, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable and not the content."""
    (tmp_path / "secret").write_bytes(content)

    message = refusal(
        DatabaseSettings, {"AUTH_DATABASE_URL_FILE": str(tmp_path / "secret")}, monkeypatch
    )

    assert message.startswith("AUTH_DATABASE_URL_FILE: ")
    assert sentence in message
    assert "hunter2" not in message


def test_a_dotenv_in_utf_16_is_refused(tmp_path: Path) -> None:
    """Windows shells write such files."""
    (tmp_path / ".env").write_bytes(f"AUTH_DATABASE_URL={DATABASE}\n".encode("utf-16"))
    with pytest.raises(BadSettings, match=r"\.env: is no UTF-8 text"):
        load(DatabaseSettings)


@pytest.mark.parametrize("scheme", ["tcp", "udp", "sctp", "TCP"])
def test_kubernetes_service_variables_are_ignored(
    scheme: str, complete: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Service named ``auth`` sets AUTH_PORT in each container; ``.env`` and the default count."""
    for name, value in complete.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AUTH_PORT", f"{scheme}://10.0.0.1:8001")
    monkeypatch.setenv("AUTH_RELAY_PORT", f"{scheme}://10.0.0.2:80")

    assert load(ApiSettings).port == 8001
    assert load(RelaySettings).relay_port == 8011
    (tmp_path / ".env").write_text("AUTH_PORT=9001\n")
    assert load(ApiSettings).port == 9001


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_an_unreadable_file_is_refused_by_name(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is missing or not text."""
    file = tmp_path / "hunter2"
    if content is not None:
        file.write_bytes(content)
    message = refusal(DatabaseSettings, {"AUTH_DATABASE_URL_FILE": str(file)}, monkeypatch)
    assert message.startswith("AUTH_DATABASE_URL_FILE: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("command", ["auth-service api", "auth-service relay"])
def test_a_process_with_an_invalid_setting_exits_with_code_2(command: str, tmp_path: Path) -> None:
    """It prints the variable's name, but no value and no traceback."""
    done = run(command, {"AUTH_DATABASE_URL": "mysql://hunter2@db/auth"}, tmp_path)
    assert done.returncode == 2
    assert "AUTH_DATABASE_URL: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
