"""Notice that a database's clock was ahead, and has been set back."""

import asyncio
from typing import Final

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_kit.database.away import DATABASE_AWAY
from service_kit.process.clock import AHEAD_SECONDS_MAX

log = structlog.get_logger()

LOOK_EVERY_SECONDS: Final = 30.0
"""Clocks are set back rarely, and a look costs a few pages of an index."""


async def seconds_set_back(connection: AsyncConnection, latest: TextClause) -> float | None:
    """How far the database's clock was ahead before it was set back; None if it was not.

    Parameters:
        latest: SQL for the latest time that its clock has shown, as far as the tables tell.
    """
    ahead = await connection.scalar(
        text(f"SELECT extract(epoch FROM ({latest.text}) - clock_timestamp())::float")  # noqa: S608 - a constant of ours
    )
    return None if ahead is None or ahead <= AHEAD_SECONDS_MAX else float(ahead)


async def watch(engine: AsyncEngine, latest: TextClause) -> None:
    """Look from time to time until cancelled, and log when the clock turns out to be set back."""
    was_set_back = False
    while True:
        try:
            async with engine.connect() as connection:
                seconds = await seconds_set_back(connection, latest)
        except DATABASE_AWAY:
            pass  # the parts of the process that need the database say so
        else:
            if seconds is not None and not was_set_back:
                log.critical("clock.set_back", seconds=round(seconds))
            was_set_back = seconds is not None
        await asyncio.sleep(LOOK_EVERY_SECONDS)
