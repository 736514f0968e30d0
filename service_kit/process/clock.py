"""Recognize times of a clock that was ahead and has been set back. Pure.

A database stores times of its clock: when an event was recorded, until when a limit is spent. After
the clock is set back, some of them lie in the future. Code that waits for such a time limits the
wait to its longest duration; ``service_kit.database.clock`` detects and reports the cause.
"""

from typing import Final

AHEAD_SECONDS_MAX: Final = 60
"""How far ahead of the clock a time may lie that the clock itself showed: another transaction may
have begun later and committed first, but no statement waits for as long as this."""

AHEAD_SQL: Final = f"interval '{AHEAD_SECONDS_MAX} seconds'"
"""The same, in SQL."""


def described(seconds: float | None) -> str | None:
    """What ``status`` says about it."""
    if seconds is None:
        return None
    return f"ran {seconds:,.0f} s ahead and was set back: see docs/runbook.md, A clock ran ahead"
