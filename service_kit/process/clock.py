"""Times that a clock showed which was ahead and has been set back since. Pure.

A database keeps what its clock showed: when an event was recorded, until when a limit is spent.
After the clock was set back some of that lies in the future, by as much as it was ahead. Code that
waits for such a time bounds the wait by what it can last; ``service_kit.database.clock`` notices
the cause and names it.
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
