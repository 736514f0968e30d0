"""Three RabbitMQ nodes in one cluster on this machine, which a test may kill.

Nodes are named ``mq1@localhost`` and so on, and share one port mapper. A queue of three replicas
needs two of them. ``pause_minority`` stops a node that sees no majority, as on machines of their
own.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from local import node_configuration
from local.broker import Broker, Origin
from local.node_configuration import NodePorts
from local.ports import LOOPBACK, free_port
from local.waiting import wait_until
from tests.support.broker_accounts import create_vhost
from tests.support.eventually import eventually
from tests.support.servers import folder_for_servers

SIZE: Final = 3
START_SECONDS_MAX: Final = 180.0
_COOKIE: Final = "usersync-test"
_NAMES: Final = tuple(f"mq{number}@localhost" for number in range(1, SIZE + 1))
_CLUSTERING: Final = "cluster_formation.peer_discovery_backend = classic_config\n" + "".join(
    f"cluster_formation.classic_config.nodes.{number} = {name}\n"
    for number, name in enumerate(_NAMES, 1)
)


@dataclass
class Node:
    """One of the nodes."""

    name: str
    folder: Path
    ports: NodePorts
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def broker(self) -> Broker:
        return Broker(
            Origin.PRIVATE,
            f"amqp://guest:guest@{LOOPBACK}:{self.ports.amqp}",
            f"http://{LOOPBACK}:{self.ports.management}",
        )

    @property
    def environment(self) -> dict[str, str]:
        return node_configuration.environment(self.folder, self.ports, os.environ) | {
            "RABBITMQ_NODENAME": self.name
        }

    def start(self) -> None:
        program = node_configuration.program()
        assert program is not None, "RabbitMQ is not installed"
        with (self.folder / "console.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program], env=self.environment, cwd=self.folder, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """Kill the node and what belongs to it (SIGKILL), like a crash of its machine."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait(10)


class BrokerCluster:
    """The nodes, and the addresses of a virtual host on all of them."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def amqp_urls(self, vhost: str) -> str:
        return " ".join(node.broker.amqp_url(vhost) for node in self.nodes)

    async def make_vhost(self, name: str) -> None:
        """Make a virtual host with the accounts, and wait until each node admits to it."""
        await asyncio.to_thread(create_vhost, self.nodes[0].broker, name)
        for node in self.nodes:
            admits = partial(node.broker.accepts_login, name)
            await eventually(partial(asyncio.to_thread, admits))


@contextmanager
def broker_cluster() -> Iterator[BrokerCluster]:
    """Run the nodes inside the block."""
    with folder_for_servers() as folder, ExitStack() as stack:
        mapper_port = free_port()
        nodes = [_prepared(folder / name.partition("@")[0], name, mapper_port) for name in _NAMES]
        epmd = node_configuration.epmd()
        assert epmd is not None, "epmd is not installed"
        mapper = subprocess.Popen(
            [epmd, "-port", str(mapper_port), "-address", LOOPBACK], env=nodes[0].environment
        )
        stack.callback(mapper.wait, 10)
        stack.callback(mapper.kill)
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        assert wait_until(lambda: all(map(_has_joined, nodes)), START_SECONDS_MAX), [
            (node.folder / "console.log").read_text()[-2000:] for node in nodes
        ]
        yield BrokerCluster(nodes)


def _prepared(folder: Path, name: str, mapper_port: int) -> Node:
    ports = NodePorts(free_port(), free_port(), free_port(), mapper_port)
    for each in (folder, folder / "log", folder / "conf.d"):
        each.mkdir(parents=True)
    cookie = folder / ".erlang.cookie"
    cookie.write_text(_COOKIE)
    cookie.chmod(0o400)
    configuration = node_configuration.configuration(ports) + _CLUSTERING
    (folder / "rabbitmq.conf").write_text(
        f"{configuration}cluster_partition_handling = pause_minority\n"
    )
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    return Node(name, folder, ports)


def _has_joined(node: Node) -> bool:
    return node.broker.is_ready() and _running(node.broker) == SIZE


def _running(broker: Broker) -> int:
    return sum(bool(node["running"]) for node in broker._call("GET", "nodes"))
