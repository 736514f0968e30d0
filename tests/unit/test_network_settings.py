"""Allowed origins and trusted proxies: invalid lists stop the start."""

import pytest
from pydantic_settings import SettingsConfigDict

from service_kit.process.errors import BadSettings
from service_kit.process.load import load
from service_kit.process.setting_types import Origins, TrustedProxies
from service_kit.process.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings under test."""

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
def test_origins_are_separated_by_commas(
    text: str, origins: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As operators write them; JSON is not needed."""
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
def test_an_invalid_origin_stops_the_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wildcard would allow every page, and other values would silently never match."""
    monkeypatch.setenv("TEST_CORS_ORIGINS", text)
    with pytest.raises(BadSettings, match=r"^TEST_CORS_ORIGINS: ") as error:
        load(Settings)
    assert "\n" not in str(error.value)


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv4 and IPv6."""
    monkeypatch.setenv("TEST_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,fd00::/8")
    assert load(Settings).trusted_proxies == ("10.0.0.0/8", "192.0.2.7", "fd00::/8")


@pytest.mark.parametrize(
    "text", ["*", "0.0.0.0/0", "::/0", "10.1.2.3/8", "proxy.example", "10.0.0.0/33", "[]"]
)
def test_an_invalid_proxy_stops_the_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All addresses, a host name, or a network with host bits."""
    monkeypatch.setenv("TEST_TRUSTED_PROXIES", text)
    with pytest.raises(BadSettings, match=r"^TEST_TRUSTED_PROXIES: "):
        load(Settings)
