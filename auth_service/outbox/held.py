"""Rows that the relay cannot change because another session holds them.

Guarantees: an event that is out and cannot be marked is not sent again by this relay, and is marked
within ``RETRY_SECONDS`` after its row is free; nothing else waits for it. ``status`` shows
how many there are, and since when, once it is more than a moment.

A relay that comes after this one sends such an event again, which consumers take for stale.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import ARRAY, BigInteger, any_, bindparam, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.outbox.backlog import RecordedEvent, mark_published, mark_unlocked
from auth_service.outbox.table import held_rows
from service_kit.database.away import is_locked

log = structlog.get_logger()

RETRY_SECONDS: Final = 1.0
"""How often held rows are tried again."""

PATIENCE_SECONDS: Final = 2.0
"""For so long nobody is told: a deletion holds the rows of its user for milliseconds."""

HELD_MAX: Final = 10_000
"""Beyond that many nothing more is published until some are free: their positions go with every
claim. Only what was unpublished when somebody locked the whole table can be that many."""

SOURCE: Final = 0
"""The position that stands for the row of ``source``."""


@dataclass(slots=True)
class _Held:
    """An event's type, None for the row of ``source``, and since when, in monotonic seconds."""

    type: str | None
    since: float


class HeldRows:
    """The rows that are held at the moment, as far as the relay has met them."""

    def __init__(self) -> None:
        self._rows: dict[int, _Held] = {}
        self._noted: set[int] = set()
        self._next = float("-inf")

    @property
    def positions(self) -> list[int]:
        """Of the events that are out and cannot be marked."""
        return [position for position in self._rows if position != SOURCE]

    @property
    def is_full(self) -> bool:
        """Whether no further one can be remembered."""
        return len(self._rows) >= HELD_MAX

    @property
    def due(self) -> float:
        """When to try them again, in monotonic seconds; infinite while there are none."""
        return self._next if self._rows else float("inf")

    async def begin(self, connection: AsyncConnection) -> None:
        """Forget what a relay before this one noted."""
        await connection.execute(delete(held_rows))
        self._noted.clear()
        self._rows.pop(SOURCE, None)

    async def mark(self, connection: AsyncConnection, events: Sequence[RecordedEvent]) -> None:
        """Mark ``events``, of different lanes, as published; remember those whose row is held."""
        positions = [event.position for event in events]
        try:
            await mark_published(connection, positions)
            return
        except DBAPIError as error:
            if not is_locked(error):
                raise
        try:
            left = await mark_unlocked(connection, positions)
        except DBAPIError as error:
            if not is_locked(error):
                raise
            left = set(positions)  # the whole table is
        now = time.monotonic()
        self._rows |= {
            event.position: _Held(event.type, now) for event in events if event.position in left
        }
        self._next = now + RETRY_SECONDS

    async def try_again(self, connection: AsyncConnection) -> None:
        """Mark those that are free by now, if it is time, and note what has changed."""
        now = time.monotonic()
        if not self._rows or now < self._next:
            return
        self._next = now + RETRY_SECONDS
        positions = self.positions
        left = await mark_unlocked(connection, positions) if positions else set()
        for position in set(positions) - left:
            del self._rows[position]
        await self._tell(connection, now)

    async def note_source(self, connection: AsyncConnection, *, is_held: bool) -> None:
        """Note whether the row of ``source`` is held."""
        now = time.monotonic()
        if is_held:
            self._rows.setdefault(SOURCE, _Held(None, now))
        elif self._rows.pop(SOURCE, None):
            await self._tell(connection, now)

    async def _tell(self, connection: AsyncConnection, now: float) -> None:
        """Have the database show what has been held for a while."""
        if free := self._noted - self._rows.keys():
            await connection.execute(_FREE, {"free": list(free)})
            self._noted -= free
        fresh = {
            position: held.type
            for position, held in self._rows.items()
            if position not in self._noted and now - held.since >= PATIENCE_SECONDS
        }
        if fresh:
            values = [{"position": position, "type": kind} for position, kind in fresh.items()]
            await connection.execute(_NOTE, values)
            self._noted |= fresh.keys()
            log.warning("relay.rows_held", rows=len(self._noted))


_NOTE: Final = insert(held_rows).on_conflict_do_nothing()

_FREE: Final = delete(held_rows).where(
    held_rows.c.position == any_(bindparam("free", type_=ARRAY(BigInteger)))
)
