"""The accounts of relay and consumer on the broker of the tests, with their real rights."""

import os
from typing import Final

from contracts.events.accounts import RELAY, consumer, definitions, users
from local.broker import Broker, as_user
from local.paths import CHECKOUT

CONSUMERS: Final = ("blog", "newsletter", "search")
_PREFIX: Final = f"test-{CHECKOUT}-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}-"
"""Users belong to the whole broker: each test worker has its own."""
_PASSWORD: Final = "test"


def create_vhost(broker: Broker, vhost: str) -> None:
    """Create a virtual host, and the accounts with their rights to it."""
    broker.create_vhost(vhost)
    passwords = dict.fromkeys((RELAY, *map(consumer, CONSUMERS)), _PASSWORD)
    given = users(CONSUMERS, passwords, prefix=_PREFIX)
    # Without the exchanges: tests show that the relay declares them, and that consumers wait.
    rights = definitions(vhost, CONSUMERS, prefix=_PREFIX) | {"exchanges": []}
    broker.load({"users": given, **rights})


def delete_accounts(broker: Broker) -> None:
    for name in (RELAY, *map(consumer, CONSUMERS)):
        broker.delete_user(_PREFIX + name)


def as_relay(amqp_url: str) -> str:
    """Return an administrator's address of a virtual host for the relay's account."""
    return as_user(amqp_url, _PREFIX + RELAY, _PASSWORD)


def as_consumer(amqp_url: str, service: str = "blog") -> str:
    """Return it for the account of a service's consumer."""
    return as_user(amqp_url, _PREFIX + consumer(service), _PASSWORD)
