"""Carry out the faults of a schedule, each at its time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg
from aio_pika.exceptions import AMQPError

from contracts.events.names import EXCHANGE, USER_BINDING
from tests.chaos import history
from tests.chaos.clock import set_back
from tests.chaos.machines import DatabaseMachine
from tests.chaos.schedule import Fault, Kind, Schedule
from tests.chaos.stage import Stage
from tests.support.source import source_on

_AT_THE_BROKER: Final = {
    *(Kind.RESTART_BROKER, Kind.KILL_BROKER, Kind.PURGE, Kind.DELETE_QUEUE),
    *(Kind.DELETE_EXCHANGE, Kind.DELETE_BINDING, Kind.DELETE_VHOST),
}
"""Faults that need a broker; they wait while it is away."""


@dataclass
class FailedOver:
    """What a database had recorded before it failed over, and when that happened."""

    service: str
    behind_at: float
    at: float
    before: list[history.Entry]
    compared_before: list[history.Compared]


@dataclass
class Done:
    """What the runner knows about the faults that it carried out, in Unix seconds."""

    failovers: list[FailedOver] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    """When the broker lost messages, from and to."""
    clocks: set[str] = field(default_factory=set)
    """Services whose clocks were set back."""


class Chaos:
    """All faults of a schedule against a stage."""

    def __init__(self, stage: Stage) -> None:
        self.done = Done()
        self._stage = stage
        self._machines = stage.machines
        self._turns: dict[str, asyncio.Lock] = {}
        self._acts: dict[Kind, Callable[[Fault], Awaitable[None]]] = {
            Kind.KILL: lambda fault: stage.kill(fault.target, fault.lasting),
            Kind.TERMINATE: lambda fault: stage.terminate(fault.target, fault.lasting),
            Kind.FREEZE: lambda fault: stage.freeze(fault.target, fault.lasting),
            Kind.CUT: self._cut,
            Kind.REFUSE: self._refuse,
            Kind.STALL: self._hold_back,
            Kind.DEAF: self._hold_back,
            Kind.MUTE: self._hold_back,
            Kind.RESTART_DATABASE: self._restart_database,
            Kind.KILL_DATABASE: self._restart_database,
            Kind.FAIL_OVER: self._fail_over,
            Kind.RESTART_BROKER: self._restart_broker,
            Kind.KILL_BROKER: self._restart_broker,
            Kind.MEMORY_ALARM: lambda fault: self._machines.broker.alarm("memory", fault.lasting),
            Kind.DISK_ALARM: lambda fault: self._machines.broker.alarm("disk", fault.lasting),
            Kind.PURGE: self._at_the_broker,
            Kind.DELETE_QUEUE: self._at_the_broker,
            Kind.DELETE_EXCHANGE: self._at_the_broker,
            Kind.DELETE_BINDING: self._at_the_broker,
            Kind.DELETE_VHOST: self._delete_vhost,
            Kind.SET_CLOCK_BACK: self._set_clock_back,
        }

    async def carry_out(self, schedule: Schedule) -> None:
        async with asyncio.TaskGroup() as group:
            for fault in schedule.faults:
                group.create_task(self._begin(fault))

    async def _begin(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        # Two faults of one target come one after the other: a connection is held back or refused.
        async with self._turns.setdefault(_place(fault), asyncio.Lock()):
            await self._acts[fault.kind](fault)

    async def _cut(self, fault: Fault) -> None:
        self._machines.links[fault.target].cut()

    async def _refuse(self, fault: Fault) -> None:
        proxy = self._machines.links[fault.target]
        proxy.refuse()
        await asyncio.sleep(fault.lasting)
        proxy.refuse(False)

    async def _hold_back(self, fault: Fault) -> None:
        proxy = self._machines.links[fault.target]
        proxy.swallow_requests(fault.kind is not Kind.MUTE)
        proxy.swallow_answers(fault.kind is not Kind.DEAF)
        await asyncio.sleep(fault.lasting)
        proxy.swallow_requests(False)
        proxy.swallow_answers(False)

    def _database(self, fault: Fault) -> DatabaseMachine:
        return self._machines.databases[fault.target.split()[0]]

    async def _restart_database(self, fault: Fault) -> None:
        crash = fault.kind is Kind.KILL_DATABASE
        await self._database(fault).restart(crash=crash, away_seconds=fault.lasting)

    async def _fail_over(self, fault: Fault) -> None:
        database = self._database(fault)
        await asyncio.to_thread(database.fall_behind)
        behind_at = time.time()
        await asyncio.sleep(fault.lasting)
        await database.isolate()
        url = database.direct_url
        before = await history.history(url)
        compared = await history.comparisons(url) if database.service == "blog" else []
        at = time.time()
        await database.fail_over()
        self.done.failovers.append(FailedOver(database.service, behind_at, at, before, compared))

    async def _restart_broker(self, fault: Fault) -> None:
        crash = fault.kind is Kind.KILL_BROKER
        await self._machines.broker.restart(crash=crash, away_seconds=fault.lasting)

    async def _at_the_broker(self, fault: Fault) -> None:
        began = time.time()
        # While the broker is away, or the queue is missing after another fault, nothing happens.
        with suppress(OSError, TimeoutError, AMQPError):
            async with source_on(self._machines.broker.url, declare=False) as source:
                match fault.kind:
                    case Kind.PURGE:
                        await source.channel.queue_purge(fault.target)
                    case Kind.DELETE_QUEUE:
                        await source.channel.queue_delete(fault.target)
                    case Kind.DELETE_EXCHANGE:
                        await source.channel.exchange_delete(fault.target)
                    case _:
                        await source.channel.queue_unbind(fault.target, EXCHANGE, USER_BINDING)
        if fault.kind in (Kind.PURGE, Kind.DELETE_QUEUE):
            self.done.losses.append((began, time.time()))

    async def _delete_vhost(self, fault: Fault) -> None:
        began = time.time()
        await self._machines.broker.delete_vhost()
        self.done.losses.append((began, time.time()))
        await asyncio.sleep(fault.lasting)
        await self._machines.broker.create_vhost()

    async def _set_clock_back(self, fault: Fault) -> None:
        database = self._database(fault)
        self.done.clocks.add(database.service)
        # While the server is away, its clock does not matter.
        with suppress(OSError, TimeoutError, asyncpg.PostgresError):
            await set_back(database.direct_url)


def _place(fault: Fault) -> str:
    """Where a fault happens: everything at the broker is one place."""
    return "the broker" if fault.kind in _AT_THE_BROKER else fault.target
