"""The addresses that ``make up`` passes to the processes after ports have changed."""

from dataclasses import replace

from local.addresses import Ports
from tests.support.local_addresses import ADDRESSES


def test_only_the_issuer_keeps_the_former_port() -> None:
    """Tokens and events keep their issuer; requests go to the ports in use."""
    settings = replace(ADDRESSES, ports=Ports(auth=21_234, blog=21_235)).settings()
    former = {name for name, value in settings.items() if "127.0.0.1:8001" in value}
    assert former == {"AUTH_ISSUER", "BLOG_ISSUER"}
    assert settings["BLOG_AUTH_PUBLIC_URL"] == "http://127.0.0.1:21234"
    assert settings["AUTH_PUBLIC_URL"] == "http://127.0.0.1:21234"
    assert settings["AUTH_CORS_ORIGINS"] == "http://127.0.0.1:21235"
