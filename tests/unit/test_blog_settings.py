"""The blog's settings: an API without keys for tokens does not start."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from blog_service.settings import ApiSettings, ConsumerSettings, DatabaseSettings, ReconcileSettings
from service_kit.process.load import load
from service_kit.process.settings import ServiceSettings
from tests.support.environment import Environment
from tests.support.pems import pem

COMPLETE = {
    "BLOG_DATABASE_URL": "postgresql://blog:hunter2@db.example:5433/blog",
    "BLOG_ISSUER": "https://auth.example",
}
URL = "http://auth.example/.well-known/jwks.json"


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    """An environment with all settings of a process but those under test."""
    return Environment(monkeypatch, tmp_path, **COMPLETE)


def test_without_keys_the_error_names_both_settings(complete: Environment) -> None:
    [line] = complete.refusal(ApiSettings).splitlines()
    assert line.startswith("BLOG_PUBLIC_KEY: set it, or BLOG_JWKS_URL")


def test_a_url_or_a_key_or_both_are_accepted(complete: Environment, public_pem: str) -> None:
    named = {"BLOG_JWKS_URL": URL, "BLOG_PUBLIC_KEY": public_pem}
    for given in (("BLOG_JWKS_URL",), ("BLOG_PUBLIC_KEY",), tuple(named)):
        complete.unset(*named)
        complete.set(**{name: named[name] for name in given})
        settings = load(ApiSettings)
        assert (settings.jwks_url is not None) is ("BLOG_JWKS_URL" in given), given
        assert (settings.public_key is not None) is ("BLOG_PUBLIC_KEY" in given), given


NO_URLS = """
    hunter2 ftp://hunter2.example/ file:///hunter2 http:// http://a:hunter2/ http://[::1/hunter2
"""


def test_an_invalid_url_is_refused_by_name(complete: Environment, public_pem: str) -> None:
    for url in ("", "http://hunter2.example/ x", *NO_URLS.split()):
        message = complete.refusal(ApiSettings, BLOG_PUBLIC_KEY=public_pem, BLOG_JWKS_URL=url)
        assert message.startswith("BLOG_JWKS_URL: "), url
        assert "hunter2" not in message, url


def test_an_invalid_value_is_refused_by_name(complete: Environment, public_pem: str) -> None:
    assert complete.refusal(ConsumerSettings).startswith("BLOG_AMQP_URL: ")
    complete.set(BLOG_PUBLIC_KEY=public_pem, BLOG_AMQP_URL="amqp://localhost/")
    for settings, name, value in (
        (ConsumerSettings, "BLOG_AMQP_URL", "hunter2"),
        *((ConsumerSettings, "BLOG_PREFETCH", "0"), (ConsumerSettings, "BLOG_ATTEMPTS_MAX", "x")),
        (ApiSettings, "BLOG_PUBLIC_KEY", "not the key hunter2"),
    ):
        [line] = complete.refusal(settings, **{name: value}).splitlines()
        assert line.startswith(f"{name}: "), line
        assert "hunter2" not in line, name


def test_the_public_url_of_the_auth_service_defaults_to_the_issuer(complete: Environment) -> None:
    """An issuer is a name that stays when the URL changes."""
    for issuer, public_url, expected in (
        ("https://auth.example/", None, "https://auth.example"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:21234", "http://127.0.0.1:21234"),
        ("https://a.example", "https://[2001:db8::1]:8443/a/", "https://[2001:db8::1]:8443/a"),
        ("urn:usersync:auth", "https://auth.example", "https://auth.example"),
    ):
        complete.set(BLOG_JWKS_URL=URL, BLOG_ISSUER=issuer)
        if public_url is not None:
            complete.set(BLOG_AUTH_PUBLIC_URL=public_url)
        settings = load(ApiSettings)
        assert (settings.issuer, settings.auth_address) == (issuer, expected)


NO_PUBLIC_URLS = """
    hunter2.example //hunter2.example ftp://hunter2.example https://ada:hunter2@auth.example
    https://hunter2.example/?x https://hunter2.example/#x https://hunter2.example;script-src
    https://hunter2.example:65536 https://hunter2.example:0 javascript:hunter2
"""


def test_faults_come_from_this_machine_or_not_at_all(complete: Environment) -> None:
    """So that no deployment has buttons that break it."""
    complete.set(BLOG_JWKS_URL=URL)
    assert load(ApiSettings).faults_url is None
    for own in ("http://127.0.0.1:8013", "http://localhost:8013/", "http://[::1]:8013"):
        complete.set(BLOG_FAULTS_URL=own)
        assert load(ApiSettings).faults_url == own.rstrip("/")
    for other in ("https://127.0.0.1:8013", "http://10.0.0.7:8013", "http://faults.example", "x"):
        complete.set(BLOG_FAULTS_URL=other)
        assert complete.refusal(ApiSettings).startswith("BLOG_FAULTS_URL: ")


def test_a_public_url_that_browsers_cannot_use_is_refused(complete: Environment) -> None:
    """It may hold no credentials and no policy rules; an issuer like that needs a separate URL."""
    complete.set(BLOG_JWKS_URL=URL)
    for url in ("", "https://hunter2.example https://auth.example", *NO_PUBLIC_URLS.split()):
        for name in (*(["BLOG_ISSUER"] if url else []), "BLOG_AUTH_PUBLIC_URL"):
            message = complete.refusal(ApiSettings, **{name: url})
            assert message.startswith("BLOG_AUTH_PUBLIC_URL: "), (name, url)
            assert "hunter2" not in message, (name, url)


def test_a_weak_public_key_stops_the_start(complete: Environment) -> None:
    """The rules are those for fetched keys."""
    good, weak = (
        pem(rsa.generate_private_key(public_exponent=exponent, key_size=2048).public_key())
        for exponent in (65537, 3)
    )
    message = complete.refusal(ApiSettings, BLOG_PUBLIC_KEY=weak)
    assert message.startswith("BLOG_PUBLIC_KEY: is not usable: a key's exponent")
    complete.set(BLOG_PUBLIC_KEY=good)
    assert load(ApiSettings).public_key == good


def test_too_few_database_connections_are_refused(complete: Environment, public_pem: str) -> None:
    complete.set(BLOG_PUBLIC_KEY=public_pem, BLOG_AMQP_URL="amqp://localhost/")
    of: tuple[tuple[type[ServiceSettings], int], ...]
    of = (ConsumerSettings, 3), (ReconcileSettings, 2), (ApiSettings, 1)
    for process, smallest in of:
        complete.set(BLOG_DATABASE_CONNECTIONS_MAX=str(smallest))
        load(process)
        message = complete.refusal(process, BLOG_DATABASE_CONNECTIONS_MAX=str(smallest - 1))
        [line] = message.splitlines()
        assert line.startswith("BLOG_DATABASE_CONNECTIONS_MAX: "), process
        assert str(smallest) in line


def test_the_lock_timeout_must_be_below_the_statement_timeout(complete: Environment) -> None:
    """Otherwise each lock wait ends as a statement time-out, and one locked row delays all."""
    sentence = "BLOG_LOCK_TIMEOUT_MS: must be less than BLOG_STATEMENT_TIMEOUT_MS"
    for timeouts in (
        *({"BLOG_LOCK_TIMEOUT_MS": "5000"}, {"BLOG_STATEMENT_TIMEOUT_MS": "1000"}),
        {"BLOG_LOCK_TIMEOUT_MS": "2000", "BLOG_STATEMENT_TIMEOUT_MS": "2000"},
        {"BLOG_LOCK_TIMEOUT_MS": "2001", "BLOG_STATEMENT_TIMEOUT_MS": "2000"},
    ):
        [line] = complete.refusal(DatabaseSettings, **timeouts).splitlines()
        assert line.startswith(sentence), timeouts
