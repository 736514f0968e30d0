"""Ports, configuration and environment of a private RabbitMQ node.

Guarantees: every listener, including epmd's and Erlang's own, is on the loopback interface; the
node uses neither the system's RabbitMQ folders nor the caller's RABBITMQ_ settings.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.ports import LOOPBACK

_NODE = "usersync@localhost"  # each node has its own epmd, so all can share a name
_FIGURES_SECONDS = 1  # delay until the API lists a new connection; the default of 5 s slows tests

_PROGRAMS = (
    # Debian's own /usr/sbin/rabbitmq-server requires the system's user and folders.
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)


@dataclass(frozen=True)
class NodePorts:
    """The four ports of a node, chosen once."""

    amqp: int
    management: int
    distribution: int
    epmd: int


def program() -> Path | None:
    """Return the server's program that runs as the current user, if it is installed."""
    for pattern in _PROGRAMS:
        found = sorted(Path("/").glob(pattern.lstrip("/")))
        if found:
            return found[-1]
    elsewhere = shutil.which("rabbitmq-server")
    return None if elsewhere is None else Path(elsewhere)


def epmd() -> str | None:
    """Return Erlang's port mapper, if it is installed."""
    return shutil.which("epmd")


def configuration(ports: NodePorts) -> str:
    """Return the text of rabbitmq.conf."""
    return (
        f"listeners.tcp.local = {LOOPBACK}:{ports.amqp}\n"
        f"management.tcp.ip = {LOOPBACK}\n"
        f"management.tcp.port = {ports.management}\n"
        f"collect_statistics_interval = {_FIGURES_SECONDS * 1000}\n"
        f"management.sample_retention_policies.global.minute = {_FIGURES_SECONDS}\n"
        f"management.sample_retention_policies.basic.minute = {_FIGURES_SECONDS}\n"
        f"management.sample_retention_policies.detailed.10 = {_FIGURES_SECONDS}\n"
    )


def environment(folder: Path, ports: NodePorts, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the node in `folder`, based on the caller's."""
    inherited = {
        name: value
        for name, value in caller.items()
        if not name.startswith(("RABBITMQ_", "ERL_", "ELIXIR_"))
    }
    return inherited | {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_NODE_PORT": str(ports.amqp),
        "RABBITMQ_DIST_PORT": str(ports.distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(folder / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(ports.epmd),
        "ERL_EPMD_ADDRESS": LOOPBACK,
    }
