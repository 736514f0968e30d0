"""What the fault injector acts on: the system of ``make up``, as it is at that moment."""

from collections.abc import Mapping
from typing import Final, Protocol

from local import docker_rabbitmq, environment, system
from local.addresses import Addresses, url
from local.faults.model import Fault, refusals
from local.rabbitmq import private_node


class Process(Protocol):
    """A process that can be killed and started."""

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""

    def kill(self) -> None:
        """Kill it (SIGKILL)."""

    def start(self) -> object:
        """Start it, unless it runs."""


class Stage(Protocol):
    """A system to break. All but ``refused`` may change with the next ``make up``."""

    @property
    def auth_url(self) -> str:
        """Where people sign up."""

    @property
    def blog_url(self) -> str:
        """Where operators are known."""

    @property
    def blog_database_url(self) -> str:
        """The replica's database, for one who may write it."""

    @property
    def blog_amqp_url(self) -> str:
        """The broker, for one who may read the consumer's queue."""

    @property
    def consumer(self) -> Process:
        """The consumer."""

    @property
    def broker(self) -> Process | None:
        """The broker; None if it is not to be stopped."""

    def refused(self) -> Mapping[Fault, str]:
        """Return the faults that are refused, each with the reason."""


class _Container:
    """The broker in this checkout's container."""

    pid = None

    def kill(self) -> None:
        docker_rabbitmq.stop()

    def start(self) -> object:
        return docker_rabbitmq.start()


def _own_broker() -> Process | None:
    """Return the broker that ``make up`` has started here; None if it found or was given one."""
    if environment.amqp_url("AUTH") is not None:
        return None
    if private_node().is_running():
        return private_node()
    return _Container() if docker_rabbitmq.is_running() else None


class LocalStage:
    """The system that ``make up`` runs in this checkout; made while it runs."""

    def __init__(self) -> None:
        self.broker: Final = _own_broker()

    @property
    def auth_url(self) -> str:
        """As ``Stage`` says, like all others."""
        return url(self._addresses.ports.auth)

    @property
    def blog_url(self) -> str:
        """The blog's own address."""
        return url(self._addresses.ports.blog)

    @property
    def blog_database_url(self) -> str:
        """With the role of operators' commands."""
        return self._addresses.blog_database_url

    @property
    def blog_amqp_url(self) -> str:
        """With the consumer's account."""
        return self._addresses.blog_amqp_url

    @property
    def consumer(self) -> Process:
        """The process that ``make up`` starts."""
        return system.process("consumer")

    def refused(self) -> Mapping[Fault, str]:
        """Refuse what belongs to others."""
        is_given = [environment.database_url(each) is not None for each in environment.SERVICES]
        return refusals(
            own_databases=not any(is_given),
            own_queues=environment.amqp_url("AUTH") is None,
            own_broker=self.broker is not None,
        )

    @property
    def _addresses(self) -> Addresses:
        return Addresses.current()
