"""A private RabbitMQ node, from an installed rabbitmq-server, in any folder.

Guarantees: it outlives the process that starts it; starting is idempotent; its ports and data
survive stop, kill and restart; only processes started here are stopped.

Not here: installing the program (`apt`), the node's configuration (`node_configuration`), virtual
hosts (`broker`).
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

from local import node_configuration
from local.broker import Broker, Origin
from local.errors import LocalError
from local.lock import locked
from local.node_configuration import NodePorts
from local.pids import StartedProcess
from local.ports import LOOPBACK, free_port
from local.waiting import wait_until

_START_TIMEOUT_SECONDS = 120.0  # usually 6 s; the rest is for a busy machine
_FORK_TIMEOUT_SECONDS = 20.0  # from the wrapper script to the Erlang VM: usually half a second
_STOP_TIMEOUT_SECONDS = 30.0  # usually 6 s
_PORT_PATIENCE_SECONDS = 5.0  # a killed node's memory is freed before its sockets are
_EPMD_STOP_TIMEOUT_SECONDS = 5.0


class PrivateRabbitMQ:
    """A node whose data, logs and ports are in `folder`."""

    def __init__(
        self, folder: Path, *, amqp_port: int | None = None, management_port: int | None = None
    ) -> None:
        """`folder`: created by the first start. Ports: preferred at the first start, if free."""
        self.folder = folder.resolve()
        self._preferred = {"amqp": amqp_port, "management": management_port}

    @staticmethod
    def is_installed() -> bool:
        """Return whether the server's program and Erlang's port mapper are installed."""
        return node_configuration.program() is not None and node_configuration.epmd() is not None

    @property
    def broker(self) -> Broker:
        """Its addresses; while it is down, those of the last start.

        Raises:
            LocalError: it was never started.
        """
        ports = self._ports()
        if ports is None:
            raise LocalError(f"No RabbitMQ node was ever started in {self.folder}.")
        return Broker(
            Origin.PRIVATE,
            f"amqp://guest:guest@{LOOPBACK}:{ports.amqp}",
            f"http://{LOOPBACK}:{ports.management}",
        )

    def start(self) -> Broker:
        """Start the node unless it runs, and wait until it accepts connections.

        Raises:
            LocalError: it is not installed or does not start; names its log.
        """
        with locked(self.folder.with_name(f"{self.folder.name}.lock")):
            if not self.is_running():
                self._start()
        return self.broker

    def stop(self) -> None:
        """Stop the node and its epmd cleanly; do nothing if they do not run."""
        self._end("beam", _STOP_TIMEOUT_SECONDS)
        self._end("epmd", _EPMD_STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """Kill the node (SIGKILL), like a crash; its epmd keeps running."""
        beam = self._process("beam")
        if beam is not None:
            beam.kill()

    def restart(self) -> Broker:
        """Stop the node if it runs, and start it with its data on its ports."""
        self._end("beam", _STOP_TIMEOUT_SECONDS)
        return self.start()

    def is_running(self) -> bool:
        """Return whether the Erlang VM runs; it may still be starting."""
        return self._process("beam") is not None

    @property
    def pid(self) -> int | None:
        """The Erlang VM's pid while it runs."""
        beam = self._process("beam")
        return None if beam is None else beam.pid

    def _start(self) -> None:
        program, epmd = node_configuration.program(), node_configuration.epmd()
        if program is None or epmd is None:
            raise LocalError("RabbitMQ is not installed: rabbitmq-server or epmd is missing.")
        ports = self._choose_ports()
        self._write(ports)
        if self._process("epmd") is None:
            # Started in the foreground, so that its pid is known; the node then starts none.
            mapper = self._run([epmd, "-port", str(ports.epmd), "-address", LOOPBACK], ports)
            mapper.save(self.folder / "epmd.json")
        wrapper = self._run([str(program)], ports)
        try:
            self._await_node(wrapper)
        except BaseException:  # an interrupt too: leave nothing half started
            for process in [*wrapper.children(), wrapper]:
                process.kill()
            self.stop()
            raise

    def _await_node(self, wrapper: StartedProcess) -> None:
        def has_forked() -> bool:
            return not wrapper.is_running() or _beam_of(wrapper) is not None

        def is_settled() -> bool:
            return not self.is_running() or self.broker.is_ready()

        wait_until(has_forked, _FORK_TIMEOUT_SECONDS)
        beam = _beam_of(wrapper)
        if beam is not None:
            beam.save(self.folder / "beam.json")
            wait_until(is_settled, _START_TIMEOUT_SECONDS)
        if not self.is_running() or not self.broker.is_ready():
            raise LocalError(f"RabbitMQ does not start; its logs are in {self.folder / 'log'}.")

    def _run(self, command: list[str], ports: NodePorts) -> StartedProcess:
        with (self.folder / "log" / "console.log").open("ab") as log:
            return StartedProcess.start(
                command,
                node_configuration.environment(self.folder, ports, os.environ),
                self.folder,
                log,
            )

    def _process(self, name: str) -> StartedProcess | None:
        process = StartedProcess.load(self.folder / f"{name}.json")
        return process if process is not None and process.is_running() else None

    def _end(self, name: str, timeout_seconds: float) -> None:
        process = self._process(name)
        if process is not None:
            process.terminate(timeout_seconds)

    def _ports(self) -> NodePorts | None:
        try:
            return NodePorts(**json.loads((self.folder / "ports.json").read_text()))
        except FileNotFoundError:
            return None

    def _choose_ports(self) -> NodePorts:
        """Return the ports of the last start that are still free, else others."""
        last = self._ports()
        preferred = self._preferred if last is None else asdict(last)
        chosen = {
            name: free_port(preferred.get(name), _PORT_PATIENCE_SECONDS)
            for name in ("amqp", "management", "distribution")
        }
        is_mapped = last is not None and self._process("epmd") is not None
        epmd = last.epmd if last and is_mapped else free_port(preferred.get("epmd"))
        return NodePorts(**chosen, epmd=epmd)

    def _write(self, ports: NodePorts) -> None:
        for folder in (self.folder, self.folder / "log", self.folder / "conf.d"):
            folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "ports.json": json.dumps(asdict(ports)),
            "rabbitmq.conf": node_configuration.configuration(ports),
            "enabled_plugins": "[rabbitmq_management].\n",
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text)


def _beam_of(wrapper: StartedProcess) -> StartedProcess | None:
    return next((child for child in wrapper.children() if child.name.startswith("beam")), None)
