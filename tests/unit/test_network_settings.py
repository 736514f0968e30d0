"""Who may call and who is believed: lists that stop the start when they are wrong."""

import pytest
from pydantic_settings import SettingsConfigDict

from service_kit.process.errors import BadSettings
from service_kit.process.setting_types import Origins, TrustedProxies
from service_kit.process.settings import ServiceSettings, load


class Settings(ServiceSettings):
    """A service's settings, as far as they matter here."""

    model_config = SettingsConfigDict(env_prefix="TEST_", env_file=None)

    cors_origins: Origins = ()
    trusted_proxies: TrustedProxies = ()


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        ("https://blog.example", ("https://blog.example",)),
        (
            "https://blog.example, http://localhost:8002,http://[::1]:8002",
            ("https://blog.example", "http://localhost:8002", "http://[::1]:8002"),
        ),
    ],
)
def test_origins_are_a_list_with_commas(
    text: str, origins: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an operator writes it, no JSON."""
    monkeypatch.setenv("TEST_CORS_ORIGINS", text)

    assert load(Settings).cors_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "https://blog.example,*",
        "null",
        "blog.example",
        "https://*.example",
        "https://blog.example/",
        "https://blog.example/path",
        "https://user@blog.example",
        "https://Blog.example",
        "https://blog.example:443",
        "http://blog.example:80",
        "http://blog.example:99999",
        "http://blog.example:0",
        "ftp://blog.example",
        "https://blog.example?x",
        "[]",
    ],
)
def test_what_no_browser_sends_as_an_origin_stops_the_start(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wildcard would let every page in; anything else would never match, without a word."""
    monkeypatch.setenv("TEST_CORS_ORIGINS", text)

    with pytest.raises(BadSettings, match=r"^TEST_CORS_ORIGINS: ") as error:
        load(Settings)

    assert "\n" not in str(error.value)


def test_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both versions."""
    monkeypatch.setenv("TEST_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,fd00::/8")

    assert load(Settings).trusted_proxies == ("10.0.0.0/8", "192.0.2.7", "fd00::/8")


@pytest.mark.parametrize(
    "text", ["*", "0.0.0.0/0", "::/0", "10.1.2.3/8", "proxy.example", "10.0.0.0/33", "[]"]
)
def test_proxies_that_nobody_should_believe_stop_the_start(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody, a name, or a network that is not what it looks like."""
    monkeypatch.setenv("TEST_TRUSTED_PROXIES", text)

    with pytest.raises(BadSettings, match=r"^TEST_TRUSTED_PROXIES: "):
        load(Settings)
