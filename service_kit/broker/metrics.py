"""What the broker shows to Prometheus: how deep queues are."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import Gauge

queue_depth: Final = Gauge(
    "usersync_queue_depth",
    "Messages ready in a queue, as this process last saw it; absent if broker or queue is away",
    ["queue"],
)


def show(depths: Mapping[str, int | None]) -> None:
    """Set the gauge to what one look has found; a queue without a depth has no value."""
    queue_depth.clear()
    for queue, messages in depths.items():
        if messages is not None:
            queue_depth.labels(queue=queue).set(messages)
