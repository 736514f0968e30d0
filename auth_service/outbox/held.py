"""Keep track of rows that the relay cannot update because another session has locked them.

Guarantees: this relay does not publish an event twice because its row is locked. It marks the event
within ``RETRY_SECONDS`` after the row is unlocked, and nothing else waits for it. ``status`` shows
the number of locked rows, and since when, after ``PATIENCE_SECONDS``.

The next relay to lead publishes such an event again; consumers discard it as stale.
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
"""How often to retry locked rows."""

PATIENCE_SECONDS: Final = 2.0
"""Locks shorter than this are not reported: a deletion locks its user's rows for milliseconds."""

HELD_MAX: Final = 10_000
"""Above this number, publishing stops until some rows are unlocked: each read of the backlog lists
their positions. Only a lock on the whole table can affect so many unpublished events."""

SOURCE: Final = 0
"""The position that stands for the row of ``source``."""


@dataclass(slots=True)
class _Held:
    """The event's type, None for the row of ``source``; and since when, in monotonic seconds."""

    type: str | None
    since: float


class HeldRows:
    """The rows that the relay has found locked."""

    def __init__(self) -> None:
        self._rows: dict[int, _Held] = {}
        self._shown: set[int] = set()  # the positions in the table
        self._next = float("-inf")

    @property
    def positions(self) -> list[int]:
        """The positions of published events that cannot be marked."""
        return [position for position in self._rows if position != SOURCE]

    @property
    def is_full(self) -> bool:
        """Whether the limit ``HELD_MAX`` is reached."""
        return len(self._rows) >= HELD_MAX

    @property
    def due(self) -> float:
        """When to retry, in monotonic seconds; infinite while no row is locked."""
        return self._next if self._rows else float("inf")

    async def begin(self, connection: AsyncConnection) -> None:
        """Clear what an earlier relay stored."""
        await connection.execute(delete(held_rows))
        self._shown.clear()
        self._rows.pop(SOURCE, None)

    async def mark(self, connection: AsyncConnection, events: Sequence[RecordedEvent]) -> None:
        """Mark ``events``, of different lanes, as published; remember those whose row is locked."""
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
            left = set(positions)  # the whole table is locked
        now = time.monotonic()
        self._rows |= {
            event.position: _Held(event.type, now) for event in events if event.position in left
        }
        self._next = now + RETRY_SECONDS

    async def retry(self, connection: AsyncConnection) -> None:
        """If it is time, mark events whose rows are unlocked by now, and store what changed."""
        now = time.monotonic()
        if not self._rows or now < self._next:
            return
        self._next = now + RETRY_SECONDS
        positions = self.positions
        left = await mark_unlocked(connection, positions) if positions else set()
        for position in set(positions) - left:
            del self._rows[position]
        await self._store(connection, now)

    async def set_source_held(self, connection: AsyncConnection, *, is_held: bool) -> None:
        """Remember whether the row of ``source`` is locked."""
        now = time.monotonic()
        if is_held:
            self._rows.setdefault(SOURCE, _Held(None, now))
        elif self._rows.pop(SOURCE, None):
            await self._store(connection, now)

    async def _store(self, connection: AsyncConnection, now: float) -> None:
        """Store the rows that have been locked for a while, for ``status``."""
        if free := self._shown - self._rows.keys():
            await connection.execute(_DELETE, {"free": list(free)})
            self._shown -= free
        fresh = {
            position: held.type
            for position, held in self._rows.items()
            if position not in self._shown and now - held.since >= PATIENCE_SECONDS
        }
        if fresh:
            values = [{"position": position, "type": kind} for position, kind in fresh.items()]
            await connection.execute(_INSERT, values)
            self._shown |= fresh.keys()
            log.warning("relay.rows_held", rows=len(self._shown))


_INSERT: Final = insert(held_rows).on_conflict_do_nothing()

_DELETE: Final = delete(held_rows).where(
    held_rows.c.position == any_(bindparam("free", type_=ARRAY(BigInteger)))
)
