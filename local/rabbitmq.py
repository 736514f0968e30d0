"""Find, start or install the RabbitMQ server of this checkout.

In this order: the address in the environment; a node or container of this checkout that runs
already; a server on the default port that accepts us and whose management API lets us create a
virtual host; a container, if a Docker engine responds; a private node of an installed
rabbitmq-server; the same after `apt-get`, as root on Debian; otherwise an error that says what to
install.

Guarantees: a server that was found is used only through virtual hosts of this checkout.
"""

import os
from urllib.parse import urlsplit, urlunsplit

from local import apt, docker_rabbitmq, environment
from local.broker import Broker, Origin
from local.errors import LocalError
from local.lock import locked
from local.paths import LOCAL, VHOST
from local.ports import LOOPBACK, is_listening
from local.private_rabbitmq import PrivateRabbitMQ
from local.progress import say
from service_kit.process.broker_addresses import split_addresses

_PORTS = {"amqp": 5672, "amqps": 5671}
_MANAGEMENT_OFFSET = 10_000  # RabbitMQ's convention: 5672 and 15672, 5671 and 15671
_LOCK = LOCAL / "broker.lock"

_NOTHING_FOUND = (
    "No RabbitMQ found: install rabbitmq-server (apt-get install rabbitmq-server, or brew "
    "install rabbitmq) or start Docker, or name a broker in AUTH_AMQP_URL and BLOG_AMQP_URL."
)


def private_node() -> PrivateRabbitMQ:
    """Return the private node under `.local/`, running or not."""
    return PrivateRabbitMQ(LOCAL / "rabbitmq")


def find_broker() -> Broker:
    """Return a running server with this checkout's virtual host, started here if needed.

    Raises:
        LocalError: there is none, or the one in the environment refuses.
    """
    with locked(_LOCK):
        broker = _given() or _running() or _found() or _started()
        broker.create_vhost(VHOST)
        return broker


def install_broker() -> None:
    """Install a server unless there is one, so that `find_broker` needs no network.

    Raises:
        LocalError: none can be installed on this machine.
    """
    with locked(_LOCK):
        if (
            environment.amqp_url("AUTH") is not None
            or _running() is not None
            or _found() is not None
        ):
            return
        if not (docker_rabbitmq.is_possible() and docker_rabbitmq.fetch()):
            _install()


def _given() -> Broker | None:
    """Return the first server of the environment's addresses that can be used."""
    given = environment.amqp_url("AUTH")
    if given is None:
        return None
    refusals = []
    for each in split_addresses(given):
        parts = urlsplit(each)
        host, port = parts.hostname or "localhost", parts.port or _PORTS[parts.scheme]
        address = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        try:
            return _usable(Origin.ENVIRONMENT, address, host, port)
        except LocalError as error:
            refusals.append(str(error))
    raise LocalError(" ".join(refusals))


def _running() -> Broker | None:
    """Return a server that was started earlier: it has messages, so it stays in use."""
    node = private_node()
    if node.is_running():
        return node.start()
    return docker_rabbitmq.start() if docker_rabbitmq.is_running() else None


def _found() -> Broker | None:
    port = int(os.environ.get("LOCAL_AMQP_PORT", _PORTS["amqp"]))
    if not is_listening(port):
        return None
    try:
        return _usable(Origin.FOUND, f"amqp://guest:guest@{LOOPBACK}:{port}", LOOPBACK, port)
    except LocalError as error:
        say(f"not using the server on port {port}: {error}")
        return None


def _started() -> Broker:
    if docker_rabbitmq.is_possible():
        try:
            return docker_rabbitmq.start()
        except LocalError as error:
            say(f"continuing without Docker: {error}")
    _install()
    node = private_node()
    say(f"starting a RabbitMQ node in {node.folder}")
    return node.start()


def _install() -> None:
    if PrivateRabbitMQ.is_installed():
        return
    if not apt.is_possible():
        raise LocalError(_NOTHING_FOUND)
    apt.install(
        "rabbitmq-server",
        otherwise="install it by hand, or name a broker in AUTH_AMQP_URL and BLOG_AMQP_URL",
    )


def _usable(origin: Origin, address: str, host: str, port: int) -> Broker:
    """Return the broker at an address, after creating our virtual host through its API."""
    refusals = []
    for management_url in _management_urls(address, host, port):
        broker = Broker(origin, address, management_url)
        try:
            broker.create_vhost(VHOST)
        except LocalError as error:
            refusals.append(error)
            continue
        if not broker.accepts_login(VHOST):
            # Then the API belongs to another server, or there is a proxy in between.
            raise LocalError(
                f"RabbitMQ at {host}:{port} does not admit {broker.credentials[0]} to a virtual "
                f"host created through {management_url}; name its own management API in "
                "LOCAL_RABBITMQ_MANAGEMENT_URL."
            )
        return broker
    raise refusals[0]


def _management_urls(address: str, host: str, port: int) -> list[str]:
    """Return candidates for the management API: as set, else by its AMQP port, else default."""
    told = os.environ.get("LOCAL_RABBITMQ_MANAGEMENT_URL")
    if told:
        return [told.rstrip("/")]
    scheme = "https" if address.startswith("amqps:") else "http"
    beside, usual = port + _MANAGEMENT_OFFSET, _PORTS[urlsplit(address).scheme] + _MANAGEMENT_OFFSET
    shown = f"[{host}]" if ":" in host else host
    return [f"{scheme}://{shown}:{each}" for each in dict.fromkeys((beside, usual))]
