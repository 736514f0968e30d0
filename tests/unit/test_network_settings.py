"""Allowed origins and trusted proxies: invalid lists stop the start."""

from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from service_kit.process.load import load
from service_kit.process.setting_types import Origins, TrustedProxies
from service_kit.process.settings import ServiceSettings
from tests.support.environment import Environment


class Settings(ServiceSettings):
    """The settings under test."""

    model_config = SettingsConfigDict(env_prefix="TEST_", env_file=None)

    cors_origins: Origins = ()
    trusted_proxies: TrustedProxies = ()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


def test_origins_are_separated_by_commas(environment: Environment) -> None:
    """As operators write them; JSON is not needed."""
    origins: tuple[str, ...]
    for text, origins in (
        *(("", ()), ("https://blog.example", ("https://blog.example",))),
        ("https://a.example, http://[::1]:8002", ("https://a.example", "http://[::1]:8002")),
        ("http://localhost:8002,http://b", ("http://localhost:8002", "http://b")),
    ):
        environment.set(TEST_CORS_ORIGINS=text)
        assert load(Settings).cors_origins == origins, text


NO_ORIGINS = """
    * https://blog.example,* null blog.example https://*.example https://blog.example/ []
    https://blog.example/path https://user@blog.example https://Blog.example ftp://blog.example
    https://blog.example:443 http://blog.example:80 http://blog.example:99999 http://blog.example:0
    https://blog.example?x
"""


def test_an_invalid_origin_stops_the_start(environment: Environment) -> None:
    """A wildcard would allow every page, and other values would silently never match."""
    for text in NO_ORIGINS.split():
        [line] = environment.refusal(Settings, TEST_CORS_ORIGINS=text).splitlines()
        assert line.startswith("TEST_CORS_ORIGINS: "), text


def test_trusted_proxies_are_addresses_and_networks(environment: Environment) -> None:
    environment.set(TEST_TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.7,fd00::/8")
    assert load(Settings).trusted_proxies == ("10.0.0.0/8", "192.0.2.7", "fd00::/8")


def test_an_invalid_proxy_stops_the_start(environment: Environment) -> None:
    """All addresses, a host name, or a network with host bits."""
    for text in ("*", "0.0.0.0/0", "::/0", "10.1.2.3/8", "proxy.example", "10.0.0.0/33", "[]"):
        message = environment.refusal(Settings, TEST_TRUSTED_PROXIES=text)
        assert message.startswith("TEST_TRUSTED_PROXIES: "), text
