"""Record every publication that the broker accepts, by its own tracing.

The copies wait in a queue of the runner's until the end. They are lost when the broker restarts or
the virtual host is deleted; then the record is not whole, and says so.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from contracts.events.names import EXCHANGE
from tests.chaos.machines import BrokerMachine
from tests.chaos.schedule import Kind, Schedule
from tests.support.source import source_on

_QUEUE: Final = "chaos.tap"

_LOSES: Final = {Kind.RESTART_BROKER, Kind.KILL_BROKER, Kind.DELETE_VHOST}


@dataclass(frozen=True)
class Publication:
    """An event that a queue has accepted."""

    user_id: UUID
    version: int


def is_whole(schedule: Schedule) -> bool:
    """Whether every publication of a run is on record."""
    return not any(fault.kind in _LOSES for fault in schedule.faults)


async def open_tap(broker: BrokerMachine) -> None:
    await broker.trace()
    async with source_on(broker.url, declare=False) as source:
        await source.channel.queue_declare(_QUEUE, durable=True)
        await source.channel.queue_bind(_QUEUE, "amq.rabbitmq.trace", f"publish.{EXCHANGE}")


async def publications(broker: BrokerMachine) -> list[Publication]:
    async with source_on(broker.url, declare=False) as source:
        found = [
            _publication(each.header.properties.headers or {})
            for each in await source.take_all(_QUEUE)
        ]
    return [each for each in found if each is not None]


def _publication(trace: dict[str, Any]) -> Publication | None:
    """Read a trace; None for a heartbeat, and for an event that no queue accepted."""
    headers = (trace["properties"] or {}).get("headers") or {}
    if not trace.get("routed_queues") or "cloudEvents_subject" not in headers:
        return None
    return Publication(
        UUID(str(headers["cloudEvents_subject"])), int(headers["cloudEvents_subjectversion"])
    )
