"""Read how many messages consuming services' queues held when a relay last looked.

Not here: looking at them (``watch_queues``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_READ: Final = text(
    """
    SELECT name, messages, extract(epoch FROM clock_timestamp() - seen_at)::float AS age_seconds
    FROM queues ORDER BY name
    """
)


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """A queue when a relay last looked; ``messages`` is None if the queue or broker was missing."""

    name: str
    messages: int | None
    age_seconds: float

    def __str__(self) -> str:
        messages = "-" if self.messages is None else f"{self.messages:,}"
        return f"{self.name} {messages} ({self.age_seconds:.0f} s ago)"


async def read_queues(connection: AsyncConnection) -> Sequence[QueueFigures]:
    """Read the last observation of each queue that relays watch."""
    return [QueueFigures(**row) for row in (await connection.execute(_READ)).mappings()]
