"""The names of a service's queues, by which messages and figures are told apart."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from contracts.events.names import dead_queue, live_queue, replay_queue, urgent_queue


class QueueNames:
    """The queues of one service: ``live`` events, ``urgent``, ``replay`` and ``dead``.

    ``depths`` has each queue by the name of the figure that shows its depth.
    """

    def __init__(self, service: str) -> None:
        self.service: Final = service
        self.live: Final = live_queue(service)
        self.urgent: Final = urgent_queue(service)
        self.replay: Final = replay_queue(service)
        self.dead: Final = dead_queue(service)
        self.depths: Final[Mapping[str, str]] = MappingProxyType(
            {
                "queue_depth": self.live,
                "urgent_queue_depth": self.urgent,
                "replay_queue_depth": self.replay,
                "dead_queue_depth": self.dead,
            }
        )
