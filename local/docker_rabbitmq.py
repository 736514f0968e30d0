"""RabbitMQ in a container of this checkout, if a Docker engine responds.

Guarantees: ports are published on the loopback interface only; ports and data survive stop and
start; the container's name includes the checkout's id, so two checkouts have two containers.
"""

import json
import shutil
import subprocess

from local.broker import Broker, Origin
from local.errors import LocalError
from local.paths import CHECKOUT
from local.ports import LOOPBACK, free_port
from local.progress import say
from local.waiting import wait_until

_NAME = f"usersync-{CHECKOUT}-rabbitmq"
_IMAGE = "rabbitmq:4-management"
_AMQP, _MANAGEMENT = "5672/tcp", "15672/tcp"

_RESPONSE_TIMEOUT_SECONDS = 10.0  # a running engine responds in a tenth of a second
_RUN_TIMEOUT_SECONDS = 600.0  # the image may have to be downloaded first
_START_TIMEOUT_SECONDS = 120.0  # usually 10 s


def is_possible() -> bool:
    """Return whether a Docker engine responds."""
    return shutil.which("docker") is not None and _docker("info") is not None


def fetch() -> bool:
    """Download the image if it is missing; return whether it is here now."""
    if _docker("image", "inspect", _IMAGE) is not None:
        return True
    say(f"fetching the container image {_IMAGE}")
    return _docker("pull", "-q", _IMAGE, timeout_seconds=_RUN_TIMEOUT_SECONDS) is not None


def is_running() -> bool:
    """Return whether the container runs."""
    state = shutil.which("docker") and _docker("inspect", "-f", "{{.State.Running}}", _NAME)
    return (state or "").strip() == "true"


def start() -> Broker:
    """Create or start the container, and wait until RabbitMQ accepts connections.

    Raises:
        LocalError: the engine fails, or RabbitMQ does not start in it.
    """
    if not is_running() and _docker("start", _NAME) is None:
        _run()
    broker = _broker()
    if not wait_until(broker.is_ready, _START_TIMEOUT_SECONDS):
        raise LocalError(f"RabbitMQ does not start in the container; see docker logs {_NAME}.")
    return broker


def stop() -> None:
    """Stop the container if it runs; its data stay."""
    if is_running():
        _docker("stop", _NAME, timeout_seconds=_START_TIMEOUT_SECONDS)


def _run() -> None:
    say(f"starting the container {_NAME}")
    # Fixed ports: the engine would choose others at every start.
    amqp, management = free_port(), free_port()
    made = _docker(
        *("run", "-d", "--name", _NAME, "--hostname", "usersync"),
        *("-p", f"{LOOPBACK}:{amqp}:{_AMQP}", "-p", f"{LOOPBACK}:{management}:{_MANAGEMENT}"),
        _IMAGE,
        timeout_seconds=_RUN_TIMEOUT_SECONDS,
    )
    if made is None:
        raise LocalError(f"The Docker engine cannot run {_IMAGE}; try docker pull {_IMAGE}.")


def _broker() -> Broker:
    inspected = _docker("inspect", "-f", "{{json .HostConfig.PortBindings}}", _NAME)
    bindings = json.loads(inspected or "{}")
    if not bindings:
        raise LocalError(f"The container {_NAME} publishes no ports; remove it and try again.")
    amqp, management = (bindings[port][0]["HostPort"] for port in (_AMQP, _MANAGEMENT))
    return Broker(
        Origin.CONTAINER,
        f"amqp://guest:guest@{LOOPBACK}:{amqp}",
        f"http://{LOOPBACK}:{management}",
    )


def _docker(*arguments: str, timeout_seconds: float = _RESPONSE_TIMEOUT_SECONDS) -> str | None:
    """Run docker; return its output, or None if it failed."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
