"""The blog's settings: an API without keys for tokens does not start."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from blog_service.settings import ApiSettings, ConsumerSettings, DatabaseSettings, ReconcileSettings
from service_kit.process.errors import BadSettings
from service_kit.process.load import load
from service_kit.process.settings import ServiceSettings

COMPLETE = {
    "BLOG_DATABASE_URL": "postgresql://blog:hunter2@db.example:5433/blog",
    "BLOG_ISSUER": "https://auth.example",
}
URL = "http://auth.example/.well-known/jwks.json"


@pytest.fixture(autouse=True)
def complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def test_without_keys_the_error_names_both_settings() -> None:
    with pytest.raises(BadSettings) as caught:
        load(ApiSettings)
    [line] = str(caught.value).splitlines()
    assert line.startswith("BLOG_PUBLIC_KEY: set it, or BLOG_JWKS_URL")


@pytest.mark.parametrize("given", [("url",), ("key",), ("url", "key")], ids=str)
def test_a_url_or_a_key_or_both_are_accepted(
    monkeypatch: pytest.MonkeyPatch, public_pem: str, given: tuple[str, ...]
) -> None:
    if "url" in given:
        monkeypatch.setenv("BLOG_JWKS_URL", URL)
    if "key" in given:
        monkeypatch.setenv("BLOG_PUBLIC_KEY", public_pem)

    settings = load(ApiSettings)

    assert (settings.jwks_url is not None, settings.public_key is not None) == (
        "url" in given,
        "key" in given,
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "hunter2",
        "ftp://hunter2.example/",
        "file:///hunter2",
        "http://",
        "http://a:hunter2/",
        "http://[::1/hunter2",
        "http://hunter2.example/ x",
    ],
)
def test_an_invalid_url_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, public_pem: str, value: str
) -> None:
    monkeypatch.setenv("BLOG_PUBLIC_KEY", public_pem)
    monkeypatch.setenv("BLOG_JWKS_URL", value)
    with pytest.raises(BadSettings) as caught:
        load(ApiSettings)
    assert str(caught.value).startswith("BLOG_JWKS_URL: ")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("issuer", "public_url", "expected"),
    [
        ("https://auth.example/", None, "https://auth.example"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:21234", "http://127.0.0.1:21234"),
        (
            "https://auth.example",
            "https://[2001:db8::1]:8443/auth/",
            "https://[2001:db8::1]:8443/auth",
        ),
        ("urn:usersync:auth", "https://auth.example", "https://auth.example"),
    ],
)
def test_the_public_url_of_the_auth_service_defaults_to_the_issuer(
    monkeypatch: pytest.MonkeyPatch, issuer: str, public_url: str | None, expected: str
) -> None:
    """An issuer is a name that stays when the URL changes."""
    monkeypatch.setenv("BLOG_JWKS_URL", URL)
    monkeypatch.setenv("BLOG_ISSUER", issuer)
    if public_url is not None:
        monkeypatch.setenv("BLOG_AUTH_PUBLIC_URL", public_url)
    settings = load(ApiSettings)
    assert (settings.issuer, settings.auth_address) == (issuer, expected)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "hunter2.example",
        "//hunter2.example",
        "ftp://hunter2.example",
        "https://ada:hunter2@auth.example",
        "https://hunter2.example/?x",
        "https://hunter2.example/#x",
        "https://hunter2.example;script-src",
        "https://hunter2.example https://auth.example",
        "https://hunter2.example:65536",
        "https://hunter2.example:0",
        "javascript:hunter2",
    ],
)
def test_a_public_url_that_browsers_cannot_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """It may hold no credentials and no policy rules; an issuer like that needs a separate URL."""
    monkeypatch.setenv("BLOG_JWKS_URL", URL)
    for name in ("BLOG_AUTH_PUBLIC_URL", *(["BLOG_ISSUER"] if value else [])):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(BadSettings) as caught:
                load(ApiSettings)
        assert str(caught.value).startswith("BLOG_AUTH_PUBLIC_URL: ")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("exponent", [3, 65537])
def test_a_weak_public_key_stops_the_start(monkeypatch: pytest.MonkeyPatch, exponent: int) -> None:
    """The rules are those for fetched keys."""
    key = rsa.generate_private_key(public_exponent=exponent, key_size=2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_bytes(serialization.Encoding.PEM, form).decode()
    monkeypatch.setenv("BLOG_PUBLIC_KEY", pem)

    if exponent == 65537:
        assert load(ApiSettings).public_key == pem
        return
    with pytest.raises(BadSettings, match="BLOG_PUBLIC_KEY: is not usable: a key's exponent"):
        load(ApiSettings)


@pytest.mark.parametrize(
    ("process", "smallest"), [(ConsumerSettings, 3), (ReconcileSettings, 2), (ApiSettings, 1)]
)
def test_too_few_database_connections_are_refused(
    monkeypatch: pytest.MonkeyPatch, public_pem: str, process: type[ServiceSettings], smallest: int
) -> None:
    monkeypatch.setenv("BLOG_PUBLIC_KEY", public_pem)
    monkeypatch.setenv("BLOG_AMQP_URL", "amqp://localhost/")
    monkeypatch.setenv("BLOG_DATABASE_CONNECTIONS_MAX", str(smallest))
    load(process)

    monkeypatch.setenv("BLOG_DATABASE_CONNECTIONS_MAX", str(smallest - 1))
    with pytest.raises(BadSettings) as caught:
        load(process)

    [line] = str(caught.value).splitlines()
    assert line.startswith("BLOG_DATABASE_CONNECTIONS_MAX: ")
    assert str(smallest) in line


@pytest.mark.parametrize(
    ("lock", "statement"), [("5000", None), ("2000", "2000"), ("2001", "2000"), (None, "1000")]
)
def test_the_lock_timeout_must_be_below_the_statement_timeout(
    monkeypatch: pytest.MonkeyPatch, lock: str | None, statement: str | None
) -> None:
    """Otherwise each lock wait ends as a statement time-out, and one locked row delays all."""
    for name, value in (("LOCK", lock), ("STATEMENT", statement)):
        if value is not None:
            monkeypatch.setenv(f"BLOG_{name}_TIMEOUT_MS", value)
    with pytest.raises(BadSettings) as caught:
        load(DatabaseSettings)
    [line] = str(caught.value).splitlines()
    assert line.startswith("BLOG_LOCK_TIMEOUT_MS: must be less than BLOG_STATEMENT_TIMEOUT_MS")
