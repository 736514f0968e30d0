"""Say what each process may do on the broker, as RabbitMQ's definitions. Pure.

One account for the relay of the source, one for the consumer of each service; no other process
connects. RabbitMQ checks ``configure`` to declare and delete, ``write`` to publish and for the
queue of a binding, ``read`` to consume and for the exchange of a binding; it also checks topics.

Guarantees: only the relay's account can publish to the exchanges of events and replays. A
consumer's account can declare, bind, read and purge its own queues, and publish to its own
dead-letter exchange. Neither is an administrator.

Not here: passwords, which no file of the repository has, and queues, which their consumer declares:
a missing one tells it that messages are lost (docs/decisions/0053).
"""

import base64
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from contracts.events import names

_NOTHING: Final = "^$"
_ANYTHING: Final = ".*"

SALT_BYTES: Final = 4
"""Of the hash of a password, as RabbitMQ wants it."""

RELAY: Final = "auth-relay"
"""The account of the relay, which also sends replays."""


@dataclass(frozen=True, slots=True)
class Account:
    """The rights of one process.

    ``configure``, ``write`` and ``read`` are names of exchanges and queues; ``binds`` are bindings
    of the topic exchange, and ``topics`` is a regular expression for the routing keys of what it
    publishes there. ``tags`` admit it to the management API, to see its own virtual host.
    """

    name: str
    configure: tuple[str, ...]
    write: tuple[str, ...]
    read: tuple[str, ...]
    topics: str = _NOTHING
    binds: tuple[str, ...] = ()
    tags: str = ""


def consumer(service: str) -> str:
    """The name of the account of the consumer of ``service``."""
    return f"{service}-consumer"


def relay_account(consumers: Collection[str]) -> Account:
    """The relay's account: it declares both exchanges and publishes to them.

    From version 4.2.6 RabbitMQ shows the depth of a queue only to an account with some right to it.
    ``write`` gives that, and nothing else without an exchange to bind the queue to.
    """
    exchanges = (names.EXCHANGE, names.REPLAY_EXCHANGE)
    of_a_consumer = (names.live_queue, names.urgent_queue, names.replay_queue)
    seen = [name(service) for service in consumers for name in of_a_consumer]
    return Account(
        RELAY,
        configure=exchanges,
        write=(*exchanges, *seen),
        read=(),
        # The broker closes a channel for a refused topic, which would hold up all events; the relay
        # sets a type aside that no queue accepts.
        topics=_ANYTHING,
    )


def consumer_account(service: str) -> Account:
    """The account of one consumer: its queues, and bindings from the source's exchanges."""
    # The dead-letter exchange has the name of its queue.
    own = (
        names.live_queue(service),
        names.urgent_queue(service),
        names.replay_queue(service),
        names.dead_queue(service),
    )
    return Account(
        consumer(service),
        configure=own,
        write=own,
        read=(*own, names.EXCHANGE, names.REPLAY_EXCHANGE),
        binds=(*names.BINDINGS, names.URGENT_BINDING),
        tags="management",  # to see limits that a policy sets for its queues
    )


def accounts(consumers: Collection[str]) -> list[Account]:
    """All accounts of a source with these consumers."""
    return [relay_account(consumers), *(consumer_account(service) for service in consumers)]


def definitions(vhost: str, consumers: Collection[str], *, prefix: str = "") -> dict[str, Any]:
    """RabbitMQ's definitions: the virtual host, its exchanges, and rights; no users.

    The broker removes the password of a user that definitions name without one, and refuses rights
    of a user that does not exist. So users come first, from ``users``.

    Parameters:
        vhost: the virtual host.
        consumers: the services that read events, such as ``blog``.
        prefix: of the names of users, which all virtual hosts of a broker share.
    """
    every = accounts(consumers)
    return {
        "vhosts": [{"name": vhost}],
        "permissions": [
            {
                "user": prefix + account.name,
                "vhost": vhost,
                "configure": _any_of(map(re.escape, account.configure)),
                "write": _any_of(map(re.escape, account.write)),
                "read": _any_of(map(re.escape, account.read)),
            }
            for account in every
        ],
        "topic_permissions": [
            {
                "user": prefix + account.name,
                "vhost": vhost,
                "exchange": names.EXCHANGE,
                "write": account.topics,
                "read": _any_of(map(re.escape, account.binds)),
            }
            for account in every
        ],
        "exchanges": [
            {
                "name": name,
                "vhost": vhost,
                "type": kind,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for name, kind in names.EXCHANGE_TYPES.items()
        ],
    }


def users(
    consumers: Collection[str], passwords: Mapping[str, str], *, prefix: str = ""
) -> list[dict[str, str]]:
    """The users that ``definitions`` gives rights to, with ``passwords`` by name of account."""
    return [
        {"name": prefix + account.name, "password": passwords[account.name], "tags": account.tags}
        for account in accounts(consumers)
    ]


def password_hash(password: str, salt: bytes) -> str:
    """The hash of a password as RabbitMQ's definitions have it: salted SHA-256, in base64.

    It keeps long random passwords; a short one could be guessed from it.
    """
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _any_of(patterns: Iterable[str]) -> str:
    """A regular expression for names that match one of ``patterns``; for none without any."""
    return f"^({either})$" if (either := "|".join(patterns)) else _NOTHING
