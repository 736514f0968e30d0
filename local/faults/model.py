"""What can be broken, and what is known of a fault. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class Fault(StrEnum):
    """A way to break the system."""

    KILL_CONSUMER = "kill_consumer"
    PURGE_QUEUE = "purge_queue"
    EDIT_ROW = "edit_row"
    DELETE_ROW = "delete_row"
    ADD_ROW = "add_row"
    STOP_BROKER = "stop_broker"


BACK_AFTER_SECONDS: Final[Mapping[Fault, float]] = {
    # A consumer counts as gone after twenty seconds without a sample.
    Fault.KILL_CONSUMER: 35.0,
    Fault.STOP_BROKER: 20.0,
}
"""When what was stopped is started again, unless an operator does it before."""

LOST_PEOPLE: Final = 3
"""People whose events a purge loses: enough to see that each of them is named."""

MEANWHILE_PEOPLE: Final = 3
"""People who sign up while something is stopped, to show that they can."""


@dataclass(frozen=True)
class Step:
    """Something that the injector did."""

    at: datetime
    text: str


@dataclass(frozen=True)
class Broken:
    """One fault, as far as it has come. Times are this machine's, as those of the services."""

    fault: Fault
    by: UUID
    """The operator who asked for it."""
    at: datetime
    """When it struck."""
    users: tuple[UUID, ...] = ()
    """The people it harmed."""
    steps: tuple[Step, ...] = field(default=())
    back_at: datetime | None = None
    """When what was stopped starts again by itself; None if nothing is stopped."""
    is_over: bool = False
    """Whether the injector has nothing more to do; the rest is up to the services."""


def refusals(*, own_databases: bool, own_queues: bool, own_broker: bool) -> dict[Fault, str]:
    """Say which faults are refused, and why.

    Parameters:
        own_databases: whether this checkout made both databases.
        own_queues: whether this checkout made the virtual host.
        own_broker: whether this checkout started the broker.
    """
    refused: dict[Fault, str] = {}
    if not own_databases:
        why = "The environment names the databases, and they may be someone's."
        refused |= dict.fromkeys((Fault.EDIT_ROW, Fault.DELETE_ROW, Fault.ADD_ROW), why)
    if not own_queues or not own_databases:
        refused[Fault.PURGE_QUEUE] = "The environment names the servers, and they may be someone's."
    if not own_broker:
        refused[Fault.STOP_BROKER] = "make up did not start this broker; others may use it."
    return refused
