"""`make` takes the addresses that the services take, and names the variable of a wrong one."""

import pytest

from local.broker import as_user
from local.environment import amqp_url, database_url
from local.errors import LocalError

SEVERAL = "amqp://u:hunter2@a/v amqp://u:hunter2@b:5673/v"


def test_several_addresses_of_the_broker_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_AMQP_URL", SEVERAL)
    assert amqp_url("AUTH") == SEVERAL
    assert as_user(SEVERAL, "relay", "p@") == "amqp://relay:p%40@a/v amqp://relay:p%40@b:5673/v"


def test_several_servers_of_a_database_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOG_DATABASE_URL", "postgresql://blog@a,b:5433/blog")
    assert database_url("BLOG") == "postgresql+asyncpg://blog@/blog?host=a:5432&host=b:5433"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_AMQP_URL", "amqp://u:hunter2@a,b/v"),
        ("AUTH_AMQP_URL", "amqp://u:hunter2@a/v,amqp://u:hunter2@b/v"),
        ("AUTH_DATABASE_URL", "postgresql://u:hunter2@a/auth?connect_timeout=3"),
    ],
)
def test_a_wrong_address_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    read = amqp_url if name.endswith("AMQP_URL") else database_url
    with pytest.raises(LocalError, match=f"^{name}: ") as refused:
        read("AUTH")
    assert "hunter2" not in str(refused.value)
