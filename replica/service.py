"""What a service hands to the processes and commands of the library."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar

from pydantic_settings import SettingsConfigDict
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.settings import (
    ConsumerSettings,
    DatabaseSettings,
    ReconcileSettings,
    StatusSettings,
)
from replica.table import Replica

S = TypeVar("S", bound=DatabaseSettings)

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

    @classmethod
    def of(cls, replica: Replica, *tasks: Task) -> Self:
        """Define a service without settings of its own; their prefix is its name in capitals."""
        prefix = SettingsConfigDict(env_prefix=f"{replica.service.upper()}_")
        own = {"model_config": prefix, "application_name": replica.command}
        database = type("DatabaseSettings", (DatabaseSettings,), own | {"__module__": __name__})

        def with_prefix(settings: type[S]) -> type[S]:
            return type(settings.__name__, (settings, database), {"__module__": __name__})

        return cls(
            replica=replica,
            database=database,
            status=with_prefix(StatusSettings),
            reconcile=with_prefix(ReconcileSettings),
            consumer=with_prefix(ConsumerSettings),
            tasks=tasks,
        )
