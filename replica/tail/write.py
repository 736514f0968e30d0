"""Write what a consumer has noted, while a live tail watches.

Guarantees: settling never waits for this. While nobody watches, a round is one small statement a
second. The table has a bounded number of rows, and none once nobody watches. What cannot be written
is lost, and only the tail lacks it.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from replica.tail.notes import Notes
from service_kit.database.alone import fetch_alone
from service_kit.database.rounds import repeat

LOOK_EVERY_SECONDS: Final = 1.0
"""How soon a consumer notices that someone watches."""

WRITE_EVERY_SECONDS: Final = 0.5
"""While someone does. People watch: sooner would show no more."""

KEPT: Final = 5_000
"""The newest lines, for a tail that continues: some seconds of a busy pipe."""

_IS_WATCHED: Final = """
    SELECT count(*) > 0 AS is_watched FROM tail_watch WHERE until > clock_timestamp()
"""

_WRITE: Final = """
    INSERT INTO tail_lines
        (at, stage, lane, type, user_id, version, event_id, recorded_at, left_out)
    SELECT at, stage, lane, type, user_id, version, event_id, recorded_at,
        CASE WHEN place = 1 THEN $9 ELSE 0 END
    FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::bigint[],
        $7::uuid[], $8::timestamptz[]) WITH ORDINALITY
        AS noted (at, stage, lane, type, user_id, version, event_id, recorded_at, place)
    ORDER BY place
"""

_FORGET: Final = f"""
    DELETE FROM tail_lines WHERE position <= (SELECT max(position) FROM tail_lines) - {KEPT}
"""  # noqa: S608 - made of a constant

_FORGET_ALL: Final = "DELETE FROM tail_lines"


async def write_continuously(engine: AsyncEngine, notes: Notes) -> None:
    """Look whether someone watches, and write notes while they do, until cancelled."""

    async def round_() -> float:
        was_watched = notes.is_watched
        [watch] = await fetch_alone(engine, _IS_WATCHED)
        notes.is_watched = watch["is_watched"]
        if notes.is_watched or was_watched:
            await _write(engine, notes)
        if was_watched and not notes.is_watched:
            await fetch_alone(engine, _FORGET_ALL)
        return WRITE_EVERY_SECONDS if notes.is_watched else LOOK_EVERY_SECONDS

    await repeat("tail", round_, every_seconds=LOOK_EVERY_SECONDS)


async def _write(engine: AsyncEngine, notes: Notes) -> None:
    lines, left_out = notes.take()
    if not lines:
        return
    await fetch_alone(
        engine,
        _WRITE,
        [line.at for line in lines],
        [line.stage for line in lines],
        [line.lane for line in lines],
        [line.type for line in lines],
        [line.user_id for line in lines],
        [line.version for line in lines],
        [line.event_id for line in lines],
        [line.recorded_at for line in lines],
        left_out,
    )
    await fetch_alone(engine, _FORGET)
