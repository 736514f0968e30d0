"""Administer a RabbitMQ server through its management API.

Guarantees: an error is one sentence that says what to change. A queue's depth is read from the
queue itself. The management API lists a new connection after a second on private nodes, after five
on others.

Not here: choosing a server (`rabbitmq`), starting one (`private_rabbitmq`, `docker_rabbitmq`), and
the queues and exchanges that the services declare.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from local.errors import LocalError
from local.waiting import result_of
from service_kit.broker.connection import BrokerTrouble, connect
from service_kit.http import trusted
from service_kit.process.broker_addresses import split_addresses

_TIMEOUT_SECONDS = 10.0  # creating a virtual host takes half a second, on a busy machine a few


class Origin(StrEnum):
    """Where a broker comes from; decides what `make down` may stop."""

    ENVIRONMENT = "named by the environment"
    FOUND = "found on the default port"
    CONTAINER = "our container"
    PRIVATE = "started here"


@dataclass(frozen=True)
class QueueDepth:
    """The number of waiting messages and of consumers of a queue."""

    ready: int
    """Without unacknowledged messages at a consumer."""
    consumers: int


@dataclass(frozen=True)
class Broker:
    """A server, and the administrator's credentials to it."""

    origin: Origin
    address: str
    """amqp://user:password@host:port, without a virtual host."""
    management_url: str
    """http://host:port, without a path."""

    @property
    def credentials(self) -> tuple[str, str]:
        """User and password, for AMQP and for the management API alike."""
        parts = urlsplit(self.address)
        return unquote(parts.username or "guest"), unquote(parts.password or "guest")

    def amqp_url(self, vhost: str) -> str:
        """Return the AMQP URL for the services."""
        return f"{self.address}/{_quoted(vhost)}"

    def account_url(self, vhost: str, user: str, password: str) -> str:
        """Return the AMQP URL for a user other than the administrator."""
        return as_user(self.amqp_url(vhost), user, password)

    def is_ready(self) -> bool:
        """Return whether AMQP and the management API respond now."""
        try:
            self.connections("/")
        except LocalError:
            return False
        return self.accepts_login("/")

    def accepts_login(self, vhost: str) -> bool:
        """Return whether an AMQP connection to the virtual host succeeds now."""
        try:
            require_login(self.amqp_url(vhost))
        except LocalError:
            return False
        return True

    def create_vhost(self, name: str) -> None:
        """Create a virtual host with all permissions for our user, unless it exists.

        Raises:
            LocalError: the management API does not respond, or refuses.
        """
        user = _quoted(self.credentials[0])
        self._call("PUT", f"vhosts/{_quoted(name)}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._call("PUT", f"permissions/{_quoted(name)}/{user}", everything)

    def load(self, definitions: Mapping[str, object]) -> None:
        """Create or update everything that RabbitMQ's definitions name.

        Raises:
            LocalError: the management API does not respond, or refuses.
        """
        self._call("POST", "definitions", dict(definitions))

    def delete_user(self, name: str) -> None:
        """Delete a user, if it exists."""
        self._call("DELETE", f"users/{_quoted(name)}", missing_ok=True)

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with its contents and connections, if it exists."""
        self._call("DELETE", f"vhosts/{_quoted(name)}", missing_ok=True)

    def set_policy(
        self, vhost: str, name: str, pattern: str, definition: Mapping[str, object]
    ) -> None:
        """Set a policy for queues whose names match the regular expression `pattern`."""
        policy = {"pattern": pattern, "definition": dict(definition), "apply-to": "queues"}
        self._call("PUT", f"policies/{_quoted(vhost)}/{_quoted(name)}", policy)

    def set_operator_policy(
        self, vhost: str, name: str, pattern: str, definition: Mapping[str, object]
    ) -> None:
        """Set a policy for queues that users' policies cannot loosen."""
        policy = {"pattern": pattern, "definition": dict(definition), "apply-to": "queues"}
        self._call("PUT", f"operator-policies/{_quoted(vhost)}/{_quoted(name)}", policy)

    def clear_policy(self, vhost: str, name: str) -> None:
        """Remove a policy, if it exists."""
        self._call("DELETE", f"policies/{_quoted(vhost)}/{_quoted(name)}", missing_ok=True)

    def queue_depth(self, vhost: str, queue: str) -> QueueDepth | None:
        """Return the depth of a queue; None if it does not exist.

        Raises:
            LocalError: the broker refuses the connection.
        """
        return result_of(_depth(self.amqp_url(vhost), queue))

    def connections(self, vhost: str) -> tuple[str, ...]:
        """Return the names of the open connections to a virtual host."""
        found = self._call("GET", f"vhosts/{_quoted(vhost)}/connections", missing_ok=True)
        return tuple(connection["name"] for connection in found or [])

    def close_connections(self, vhost: str) -> int:
        """Close every connection to a virtual host at the broker; return their number."""
        names = self.connections(vhost)
        for name in names:
            self._call("DELETE", f"connections/{_quoted(name)}", missing_ok=True)
        return len(names)

    def _call(
        self, method: str, path: str, body: object | None = None, *, missing_ok: bool = False
    ) -> Any:
        url = f"{self.management_url}/api/{path}"
        try:
            # trust_env=False: a proxy from the environment must not be used for this machine.
            with httpx.Client(
                trust_env=False, timeout=_TIMEOUT_SECONDS, verify=trusted.authorities()
            ) as client:
                response = client.request(method, url, json=body, auth=self.credentials)
        except httpx.HTTPError as error:
            raise LocalError(
                f"RabbitMQ's management API does not respond at {self.management_url} "
                f"({error or type(error).__name__}); enable its plugin rabbitmq_management, or "
                "name the API in LOCAL_RABBITMQ_MANAGEMENT_URL."
            ) from error
        if missing_ok and response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise LocalError(
                f"RabbitMQ's management API at {self.management_url} rejects the user "
                f"{self.credentials[0]}: wrong password, or no tag administrator."
            )
        if not response.is_success:
            raise LocalError(
                f"RabbitMQ's management API at {self.management_url} refused {method} {path} "
                f"({response.status_code}); give the user {self.credentials[0]} the tag "
                "administrator."
            )
        return response.json() if response.content else None


def as_user(amqp_urls: str, user: str, password: str) -> str:
    """Return the same addresses, separated by blanks, for another user."""
    account = f"{_quoted(user)}:{_quoted(password)}"
    parts = [urlsplit(each) for each in split_addresses(amqp_urls)]
    return " ".join(
        each._replace(netloc=f"{account}@{each.netloc.rpartition('@')[2]}").geturl()
        for each in parts
    )


def require_login(amqp_urls: str) -> None:
    """Connect once to the first of these addresses, separated by blanks, that accepts us.

    Raises:
        LocalError: the broker refuses, or does not respond.
    """
    result_of(_visit(amqp_urls))


async def _visit(amqp_urls: str) -> None:
    connection = await _connect(amqp_urls)
    await connection.close()


async def _connect(amqp_urls: str) -> AbstractConnection:
    try:
        return await connect(amqp_urls, name="make")
    except BrokerTrouble as error:
        raise LocalError(f"RabbitMQ cannot be used: {error}.") from error


async def _depth(url: str, queue: str) -> QueueDepth | None:
    async with await _connect(url) as connection:
        channel = await connection.channel()
        try:
            found = await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            return None
        counts = found.declaration_result
        return QueueDepth(counts.message_count or 0, counts.consumer_count or 0)


def _quoted(name: str) -> str:
    return quote(name, safe="")
