"""The addresses that ``make up`` passes to the processes after ports have changed."""

from local.addresses import Addresses, Ports

MOVED = Addresses(
    ports=Ports(auth=21_234, blog=21_235),
    issuer="http://127.0.0.1:8001",
    auth_database_url="postgresql+asyncpg://auth@/auth",
    blog_database_url="postgresql+asyncpg://blog@/blog",
    auth_amqp_url="amqp://localhost/",
    blog_amqp_url="amqp://localhost/",
)


def test_only_the_issuer_keeps_the_former_port() -> None:
    """Tokens and events keep their issuer; requests go to the ports in use."""
    settings = MOVED.settings()
    former = {name for name, value in settings.items() if "127.0.0.1:8001" in value}
    assert former == {"AUTH_ISSUER", "BLOG_ISSUER"}
    assert settings["BLOG_AUTH_PUBLIC_URL"] == "http://127.0.0.1:21234"
    assert settings["AUTH_PUBLIC_URL"] == "http://127.0.0.1:21234"
    assert settings["AUTH_CORS_ORIGINS"] == "http://127.0.0.1:21235"
