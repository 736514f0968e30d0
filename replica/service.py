"""What a service hands to the processes and commands of the library."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncEngine

from replica.settings import (
    ConsumerSettings,
    DatabaseSettings,
    ReconcileSettings,
    StatusSettings,
)
from replica.table import Replica

Task: TypeAlias = Callable[[Any, AsyncEngine], Awaitable[object]]
"""Work in the consumer process: takes the consumer's settings and its engine, and never ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A replica, the settings of each process and command, and what the consumer runs beside it."""

    replica: Replica
    database: type[DatabaseSettings]
    status: type[StatusSettings]
    reconcile: type[ReconcileSettings]
    consumer: type[ConsumerSettings]
    tasks: tuple[Task, ...] = ()
