"""Read what consumers settle, as they write it down, and let them know that someone watches.

Guarantees: the work grows with what was written since the last read; nothing is locked that a
consumer needs. Lines of several consumers are found although they are committed out of order.
"""

import time
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.database.alone import RowLike, fetch_alone
from service_kit.process.tail import Batch, Line, Positions

WATCH_SECONDS: Final = 20.0
"""How long consumers go on after the last sign of a reader: a client that connects again misses
nothing."""

RENEW_SECONDS: Final = 5.0
"""How often a reader gives the sign."""

READ_MAX: Final = 5_000
"""Lines in one read: as many as are kept."""

_WATCH: Final = f"""
    INSERT INTO tail_watch (until)
    VALUES (clock_timestamp() + make_interval(secs => {WATCH_SECONDS}))
    ON CONFLICT (singleton) DO UPDATE SET until = excluded.until
"""  # noqa: S608 - made of a constant

_NEWEST: Final = "SELECT coalesce(max(position), 0) AS position FROM tail_lines"

_LINE: Final = "position, at, stage, lane, type, user_id, version, event_id, recorded_at, left_out"

_NEW: Final = f"""
    (SELECT {_LINE} FROM tail_lines WHERE position > $1 ORDER BY position LIMIT {READ_MAX})
    UNION ALL
    (SELECT {_LINE} FROM tail_lines WHERE position = ANY ($2::bigint[]))
"""  # noqa: S608 - made of constants


class SettledReader:
    """Reads from a position on; made by ``start``."""

    def __init__(self, engine: AsyncEngine, after: int) -> None:
        self._engine = engine
        self._positions = Positions(after)
        self._renew_at = 0.0

    @classmethod
    async def start(cls, engine: AsyncEngine, mark: str | None) -> Self:
        """Make a reader that begins now, or continues after a mark of an earlier one.

        Raises:
            ValueError: this is no mark.
        """
        if mark is None:
            [newest] = await fetch_alone(engine, _NEWEST)
            return cls(engine, newest["position"])
        position = int(mark)
        if not 0 <= position < 2**63:
            raise ValueError(mark)
        return cls(engine, position)

    async def read(self) -> Batch:
        """Read on."""
        now = time.monotonic()
        if now >= self._renew_at:
            await fetch_alone(self._engine, _WATCH)
            self._renew_at = now + RENEW_SECONDS
        gaps = list(self._positions.gaps)
        rows = await fetch_alone(self._engine, _NEW, self._positions.high, gaps)
        self._positions.note([row["position"] for row in rows], now)
        left_out = sum(row["left_out"] for row in rows)
        lines = sorted(map(_line, rows), key=lambda line: line.at)
        return Batch(lines, str(self._positions.low), left_out)


def _line(row: RowLike) -> Line:
    return Line(
        at=row["at"],
        stage=row["stage"],
        lane=row["lane"],
        type=row["type"],
        user_id=row["user_id"],
        version=row["version"],
        event_id=row["event_id"],
        recorded_at=row["recorded_at"],
    )
