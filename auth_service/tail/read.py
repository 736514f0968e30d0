"""Read what is recorded and published from the outbox, as it happens.

Guarantees: rows are found by their position, or in the index of unpublished ones: the work grows
with what happened since the last read, not with the log. Only committed rows are read, and nothing
is locked. Positions that are committed out of order are found for a few seconds.

Of a backlog, the publication of the oldest few thousand events is followed. A tail that continues
after a mark repeats what was published in the last seconds before it.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.database.alone import RowLike, fetch_alone
from service_kit.process.tail import Batch, Line, Positions

RECORDED: Final = "recorded"
PUBLISHED: Final = "published"

READ_MAX: Final = 5_000
"""Events in one read, or ten thousand a second: more than a relay publishes. What exceeds it is
left out and counted, unless a time was given to begin at."""

FOLLOWED_MAX: Final = 5_000
"""Unpublished events that are looked up in each read: some milliseconds."""

BEFORE_MARK_MAX: Final = 1_000
"""Events before a mark of which a continued tail looks whether they were published since."""

OVERLAP: Final = timedelta(seconds=5)
"""A transaction that marks events as published commits within this time."""

_LINE: Final = "position, occurred_at, published_at, type, user_id, version, event_id"

_NEWEST: Final = """
    SELECT coalesce(max(position), 0) AS position, clock_timestamp() AS now FROM outbox_events
"""

_RECORDED: Final = f"""
    (SELECT {_LINE} FROM outbox_events WHERE position > $1 ORDER BY position LIMIT $3)
    UNION ALL
    (SELECT {_LINE} FROM outbox_events WHERE position = ANY ($2::bigint[]))
"""  # noqa: S608 - made of constants

_PUBLISHED: Final = f"""
    SELECT {_LINE} FROM outbox_events
    WHERE position = ANY ($1::bigint[]) AND published_at IS NOT NULL
"""  # noqa: S608 - made of constants

_PUBLISHED_SINCE: Final = f"""
    SELECT {_LINE} FROM outbox_events
    WHERE position > $1 - {BEFORE_MARK_MAX} AND position <= $1 AND published_at > $2
"""  # noqa: S608 - made of constants

_UNPUBLISHED: Final = """
    SELECT position FROM outbox_events
    WHERE published_at IS NULL AND set_aside = 0 AND position <= $1
    ORDER BY position LIMIT $2
"""

# Not min(): PostgreSQL would read the log from its beginning instead of using the index of times.
_FIRST_SINCE: Final = """
    WITH since AS MATERIALIZED (SELECT position FROM outbox_events WHERE occurred_at >= $1)
    SELECT min(position) AS position FROM since
"""


class OutboxReader:
    """Reads from a position on; made by ``start`` or ``since``.

    Parameters:
        skips: whether to leave out what exceeds ``READ_MAX``, so that a reader does not fall
            behind; else the next read has it.
    """

    def __init__(
        self, engine: AsyncEngine, after: int, published_after: datetime, *, skips: bool = True
    ) -> None:
        self._engine = engine
        self._skips = skips
        self._positions = Positions(after)
        self._published_at = published_after
        self._followed: set[int] | None = None  # None: not read yet
        self._is_more_unpublished = False

    @classmethod
    async def start(cls, engine: AsyncEngine, mark: str | None) -> Self:
        """Make a reader that begins now, or continues after a mark of an earlier one.

        Raises:
            ValueError: this is no mark.
        """
        if mark is not None:
            position, published = (int(part) for part in mark.split("-", 1))
            if not (0 <= position < 2**63 and 0 <= published < 2**53):
                raise ValueError(mark)
            return cls(engine, position, datetime.fromtimestamp(published / 1e6, UTC))
        [newest] = await fetch_alone(engine, _NEWEST)
        reader = cls(engine, newest["position"], newest["now"])
        await reader._follow()
        return reader

    @classmethod
    async def since(cls, engine: AsyncEngine, begin: datetime) -> Self:
        """Make a reader of all events that were recorded at ``begin`` or later."""
        [first] = await fetch_alone(engine, _FIRST_SINCE, begin)
        if first["position"] is None:
            return await cls.start(engine, None)
        return cls(engine, first["position"] - 1, begin, skips=False)

    async def read(self) -> Batch:
        """Read on; what is recorded and published within two reads is two lines."""
        lines: list[Line] = []
        if self._followed is None:
            rows = await fetch_alone(
                self._engine, _PUBLISHED_SINCE, self._positions.low, self._published_at - OVERLAP
            )
            lines += map(_published, rows)
            await self._follow()
        before, gaps = self._positions.high, list(self._positions.gaps)
        rows = await fetch_alone(self._engine, _RECORDED, before, gaps, READ_MAX)
        found = [row["position"] for row in rows]
        is_full = sum(position > before for position in found) == READ_MAX
        self._positions.note(found, time.monotonic())
        lines += map(_recorded, rows)
        lines += (_published(row) for row in rows if row["published_at"] is not None)
        lines += await self._newly_published()
        self._follow_also(row["position"] for row in rows if row["published_at"] is None)
        left_out = await self._skip() if is_full and self._skips else 0
        lines.sort(key=lambda line: line.at)
        published = (line.at for line in lines if line.stage == PUBLISHED)
        self._published_at = max([self._published_at, *published])
        return Batch(lines, self._mark, left_out)

    @property
    def _mark(self) -> str:
        return f"{self._positions.low}-{int(self._published_at.timestamp() * 1e6)}"

    async def _newly_published(self) -> Sequence[Line]:
        if not self._followed:
            return []
        rows = await fetch_alone(self._engine, _PUBLISHED, list(self._followed))
        self._followed.difference_update(row["position"] for row in rows)
        if self._is_more_unpublished and len(self._followed) < FOLLOWED_MAX / 2:
            await self._follow()
        return [_published(row) for row in rows]

    def _follow_also(self, positions: Iterable[int]) -> None:
        """Look from now on whether these events are published, as far as there is room."""
        assert self._followed is not None  # since the first read
        wanted = sorted(positions)
        taken = wanted[: FOLLOWED_MAX - len(self._followed)]
        self._followed.update(taken)
        self._is_more_unpublished |= len(taken) < len(wanted)

    async def _follow(self) -> None:
        """Look from now on whether the oldest unpublished events are published."""
        rows = await fetch_alone(self._engine, _UNPUBLISHED, self._positions.high, FOLLOWED_MAX)
        self._followed = {row["position"] for row in rows}
        self._is_more_unpublished = len(rows) == FOLLOWED_MAX

    async def _skip(self) -> int:
        """Leave out what is recorded already and was not read; return how many positions."""
        before = self._positions.high
        [newest] = await fetch_alone(self._engine, _NEWEST)
        self._positions = Positions(max(before, newest["position"]))
        self._is_more_unpublished = True
        return self._positions.high - before


def _recorded(row: RowLike) -> Line:
    return Line(
        at=row["occurred_at"],
        stage=RECORDED,
        type=row["type"],
        user_id=row["user_id"],
        version=row["version"],
        event_id=row["event_id"],
        recorded_at=row["occurred_at"],
    )


def _published(row: RowLike) -> Line:
    return replace(_recorded(row), stage=PUBLISHED, at=row["published_at"])
