"""Fold the changes of maintained digests, so that a reader has few to add.

Guarantees: one session folds at a time; a fold is one transaction, and waits for no writer, nor a
writer for it. What a reader sees does not change by a fold.
"""

from typing import Final, Never

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.sync.maintained_digests import CHANGES_FOLDED_MAX, FILL, FOLD
from service_kit.database.rounds import repeat

EVERY_SECONDS: Final = 10.0
"""A reader adds at most the changes of so long: 3,000 at 300 a second, in a few milliseconds."""

LOOK_EVERY_SECONDS: Final = 1.0
"""How often a look is taken whether many changes wait; it reads at most ``WAITING_MAX`` rows."""

WAITING_MAX: Final = 5_000
"""More changes than this are folded at once; with so many, reading takes twice as long."""

LOCK_KEY: Final = 0x666F6C6464696773
""""folddigs" in ASCII: the advisory lock of the session that folds."""

_ARE_MANY = text("SELECT EXISTS (SELECT FROM digest_changes OFFSET :waiting_max LIMIT 1)")
_FILL = text(FILL)
_FOLD = text(FOLD)


async def fold(engine: AsyncEngine) -> int:
    """Move the changes that wait into ``digests``; return how many were moved.

    None is moved while another session folds.
    """
    moved = 0
    while True:
        async with engine.begin() as connection:
            if not await connection.scalar(select(func.pg_try_advisory_xact_lock(LOCK_KEY))):
                return moved
            await connection.execute(_FILL)
            batch: int = (await connection.execute(_FOLD)).scalar_one()
        moved += batch
        if batch < CHANGES_FOLDED_MAX:
            return moved


async def fold_periodically(engine: AsyncEngine) -> Never:
    """Fold every ``EVERY_SECONDS``, and as soon as many changes wait, until cancelled."""
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        async with engine.connect() as connection:
            are_many = bool(await connection.scalar(_ARE_MANY, {"waiting_max": WAITING_MAX}))
        if are_many or looks * LOOK_EVERY_SECONDS >= EVERY_SECONDS:
            looks = 0
            await fold(engine)

    await repeat("digests", look, every_seconds=LOOK_EVERY_SECONDS)
