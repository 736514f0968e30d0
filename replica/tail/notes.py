"""Note what a consumer settles, in memory, while a live tail watches. Pure.

Guarantees: while nobody watches, a batch costs one look at a flag. Memory is bounded. Notes have
ids, a known type and times: nothing that a sender may have written elsewhere.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice, zip_longest
from typing import Final
from uuid import UUID

from contracts.events import DATA_OF, Event
from contracts.events.envelope import Carrier, legible_ids, legible_type
from contracts.sync.merge import Outcome
from service_kit.process.tail import Line

NOTED_MAX: Final = 500
"""Lines between two writes, or a thousand a second: more than anyone reads, for 1.5 ms of work."""


class Notes:
    """What the lanes of one consumer have settled since the last write.

    ``is_watched`` says whether to note anything. ``left_out`` counts what had no room.
    """

    def __init__(self) -> None:
        self.is_watched = False
        self.left_out = 0
        self._lines: list[Line] = []

    def settled(
        self,
        lane: str,
        messages: Sequence[Carrier],
        read: Iterable[Event | None],
        outcomes: Sequence[Outcome],
    ) -> None:
        """Note a batch.

        Parameters:
            read: the events of the messages, as far as they have been read.
            outcomes: one for each message.
        """
        if not self.is_watched:
            return
        now = datetime.now(UTC)
        room = NOTED_MAX - len(self._lines)
        self.left_out += max(0, len(messages) - room)
        settled = islice(zip_longest(messages, read, outcomes), room)
        self._lines += (_line(now, lane, *each) for each in settled)

    def take(self) -> tuple[list[Line], int]:
        """Return the lines since the last call, and how many had no room."""
        taken = self._lines, self.left_out
        self._lines, self.left_out = [], 0
        return taken


def _line(at: datetime, lane: str, message: Carrier, event: Event | None, outcome: Outcome) -> Line:
    if event is not None:
        return Line(
            at=at,
            stage=outcome.value,
            lane=lane,
            type=event.type,
            user_id=event.data.subject,
            version=event.data.subject_version,
            event_id=event.id,
            recorded_at=event.time,
        )
    ids, named = legible_ids(message), legible_type(message)
    return Line(
        at=at,
        stage=outcome.value,
        lane=lane,
        type=named if named in DATA_OF else None,
        user_id=UUID(ids["user_id"]) if "user_id" in ids else None,
        version=None,
        event_id=UUID(ids["event_id"]) if "event_id" in ids else None,
        recorded_at=None,
    )
