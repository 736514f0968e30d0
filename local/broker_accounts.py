"""The accounts of this checkout's processes on the broker, with their rights.

Guarantees: no process is an administrator; the password never changes once chosen, so `make up`
restarts nothing; only its owner can read it; services that were added (``new_service``) keep their
accounts and rights.
"""

import os
import secrets

from contracts.events.accounts import RELAY, consumer, definitions, users
from contracts.events.write_definitions import CONSUMERS
from local.broker import Broker
from local.paths import LOCAL, VHOST

_PASSWORD = LOCAL / "keys" / "broker-password"
_PASSWORD_BYTES = 24
_ADDED = LOCAL / "services"
"""The names of the services that were added here, one a line."""

_PREFIX = f"{VHOST}-"
"""Users belong to the whole broker, which other checkouts may use too."""


def add_consumer(service: str) -> None:
    """Note that a service of this name reads events here, from the next ``ensure_accounts`` on."""
    if service not in _consumers():
        with _ADDED.open("a") as file:
            file.write(f"{service}\n")


def _consumers() -> list[str]:
    added = _ADDED.read_text().split() if _ADDED.exists() else []
    return [*CONSUMERS, *added]


def ensure_accounts(broker: Broker) -> dict[str, str]:
    """Create the accounts or correct their rights; return the AMQP URL of each by its name.

    Raises:
        LocalError: the management API does not respond, or refuses.
    """
    consumers = _consumers()
    names = (RELAY, *map(consumer, consumers))
    passwords = dict.fromkeys(names, _password())
    given = users(consumers, passwords, prefix=_PREFIX)
    broker.load({"users": given, **definitions(VHOST, consumers, prefix=_PREFIX)})
    return {name: broker.account_url(VHOST, _PREFIX + name, _password()) for name in names}


def _password() -> str:
    try:
        return _PASSWORD.read_text()
    except FileNotFoundError:
        _PASSWORD.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = _PASSWORD.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(secrets.token_hex(_PASSWORD_BYTES))
        unfinished.rename(_PASSWORD)
        return _PASSWORD.read_text()
